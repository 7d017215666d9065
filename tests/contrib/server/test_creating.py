"""Sweeps made over HTTP: idempotent, and of nothing that reaches the server's files or runs code there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.distill.presets import preset
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.web.services import OPERATOR, TOKENS, Reply, Service, serving

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on a storage that it made itself."""
    folder = tmp_path_factory.mktemp("creating")
    with serving(f"sqlite:///{folder}/new.db", folder=folder, tokens=TOKENS) as service:
        yield service


def create(service: Service, **body: Any) -> Reply:
    return service.ask("/api/v1/sweeps", method="POST", token=OPERATOR, body=body)


def names(service: Service) -> list[str]:
    return [one["name"] for one in service.ask("/api/v1/sweeps", token=OPERATOR).json["items"]]


def test_the_same_request_again_changes_nothing_and_another_spec_is_refused(service: Service) -> None:
    first = create(service, name="mine", preset="tiny", changes={"search.trials": 4})
    assert first.status == 201, first.text
    assert first.headers["location"] == "/api/v1/sweeps/mine"
    assert first.json["new"] is True
    again = create(service, name="mine", preset="tiny", changes={"search.trials": 4})
    assert again.status == 200
    assert again.json == first.json | {"new": False}
    other = create(service, name="mine", preset="tiny", changes={"search.trials": 5})
    assert other.status == 409
    assert "search.trials: 4 -> 5" in other.json["detail"]
    assert other.json["exit_code"] == 2
    assert service.ask("/api/v1/sweeps/mine", token=OPERATOR).json["stages"]["search"]["waiting"] == 4


def test_a_whole_spec_makes_the_sweep_that_it_describes_and_that_of_a_preset_the_presets(service: Service) -> None:
    made = create(service, name="whole", spec=SMALL.as_dict())
    assert made.status == 201, made.text
    assert service.ask("/api/v1/sweeps/whole", token=OPERATOR).json["stages"]["search"]["waiting"] == 4
    made = create(service, name="tiny", spec=preset("tiny").as_dict())
    assert create(service, name="tiny", preset="tiny").json == made.json | {"new": False}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "x"}, "give either a preset"),
        ({"name": "x", "preset": "tiny", "spec": {}}, "give either a preset"),
        ({"name": "x", "preset": "tinny"}, "did you mean tiny?"),
        ({"name": "../x", "preset": "tiny"}, "sweep name '../x'"),
        ({"name": "x", "preset": "tiny", "changes": {"search.trails": 3}}, "unknown key 'search.trails'"),
        ({"name": "x", "preset": "tiny", "changes": {"search.trials": 10**9}}, "search.trials: got 1000000000"),
        ({"name": "x", "preset": "tiny", "more": 1}, "more: got 1"),
        ({"preset": "tiny"}, "name: got"),
    ],
)
def test_what_makes_no_spec_is_one_line_that_says_what_would(service: Service, body: Any, said: str) -> None:
    before = names(service)
    refused = service.ask("/api/v1/sweeps", method="POST", token=OPERATOR, body=body)
    assert refused.status == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert said in refused.json["detail"]
    assert refused.json["exit_code"] == 2
    assert names(service) == before


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        *((body, "application/json", "") for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"name": 1e999}')),
        (b'{"name": }', "application/json", "the body is not JSON: Expecting value at character 9"),
        (b"[" * 100_000, "application/json", "the body cannot be read: not UTF-8, nested too deeply"),
        (b'{"name": "x", "preset": "tiny"}', "text/plain", "needs the header Content-Type: application/json"),
    ],
)
def test_what_is_no_request_is_refused_as_one(service: Service, body: bytes, kind: str, said: str) -> None:
    headers = {"Content-Type": kind}
    refused = service.ask("/api/v1/sweeps", method="POST", token=OPERATOR, body=body, headers=headers)
    assert 400 <= refused.status < 500
    assert said in json.loads(refused.body)["detail"]


@pytest.mark.parametrize("body", [{"seeds": True}, {"seeds": "3"}, {"seeds": 3, "dry_run": "no"}])
def test_nothing_is_added_by_what_only_looks_like_a_number(service: Service, body: Any) -> None:
    assert create(service, name="kept", preset="tiny").status in (200, 201)
    refused = service.ask("/api/v1/sweeps/kept/extend", method="POST", token=OPERATOR, body=body)
    assert refused.status == 422
    assert "allowed: a valid" in refused.json["detail"]


def test_a_file_on_the_server_and_code_are_refused_with_what_the_operator_may_do(service: Service) -> None:
    refused = create(service, name="files", preset="tiny", changes={"source.teacher": "logits:/etc/passwd"})
    assert refused.status == 403, refused.text
    assert "no request names a file" in refused.json["detail"]
    refused = create(service, name="code", preset="tiny", changes={"search.sampler": "os:abort"})
    assert refused.status == 403, refused.text
    assert "--allow-code" in refused.json["detail"]
    assert "kd-sweeps create NAME my.toml --storage URL" in refused.json["detail"]
    assert not {"files", "code"} & set(names(service))


def test_with_allow_code_a_sampler_of_ones_own_is_taken_and_a_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sampler_of_ones_own.py").write_text("def make(seed):\n    return 'it was run'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with serving(f"sqlite:///{tmp_path}/s.db", folder=tmp_path, tokens=TOKENS, allow_code=True) as service:
        told = create(service, name="code", preset="tiny", changes={"search.sampler": "sampler_of_ones_own:make"})
        assert told.status == 422
        assert "it was run" in told.json["detail"]
        assert create(service, name="file", preset="tiny", changes={"source.dataset": "x.npz"}).status == 403


def test_a_service_of_some_sweeps_makes_no_other_and_shows_no_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    for name in ("ours", "theirs"):
        created(url, name=name)
    with serving(url, "ours", folder=tmp_path, tokens=TOKENS) as service:
        assert names(service) == ["ours"]
        for path in ("/theirs", "/theirs/best", "/theirs/trials"):
            assert service.ask(f"/api/v1/sweeps{path}", token=OPERATOR).status == 404
        assert service.ask("/api/v1/sweeps/theirs/cancel", method="POST", token=OPERATOR).status == 404
        assert create(service, name="new", preset="tiny").status == 404
        assert 'sweep="ours"' in service.ask("/metrics", token=OPERATOR).text
        assert "theirs" not in service.ask("/metrics", token=OPERATOR).text
        assert "theirs" not in service.ask("/", token=OPERATOR).text
        assert service.ask("/sweeps/theirs", token=OPERATOR).status == 404
