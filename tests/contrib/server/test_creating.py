"""Creating sweeps over HTTP: idempotent, and without access to the server's files or code."""

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
    """Yield a service on a storage that it created."""
    folder = tmp_path_factory.mktemp("creating")
    with serving(f"sqlite:///{folder}/new.db", folder=folder, tokens=TOKENS) as service:
        yield service


def create(service: Service, **body: Any) -> Reply:
    return service.ask("/api/v1/sweeps", method="POST", token=OPERATOR, body=body)


def names(service: Service) -> list[str]:
    return [sweep["name"] for sweep in service.ask("/api/v1/sweeps", token=OPERATOR).json["items"]]


def test_a_repeated_request_changes_nothing_and_another_spec_is_refused(service: Service) -> None:
    first = create(service, name="mine", preset="tiny", changes={"search.trials": 4})
    assert first.status == 201, first.text
    assert first.headers["location"] == "/api/v1/sweeps/mine"
    assert first.json["new"] is True
    repeated = create(service, name="mine", preset="tiny", changes={"search.trials": 4})
    assert repeated.status == 200
    assert repeated.json == first.json | {"new": False}
    other = create(service, name="mine", preset="tiny", changes={"search.trials": 5})
    assert other.status == 409
    assert "search.trials: 4 -> 5" in other.json["detail"]
    assert other.json["exit_code"] == 2
    assert service.ask("/api/v1/sweeps/mine", token=OPERATOR).json["stages"]["search"]["waiting"] == 4


def test_a_full_spec_and_a_preset_give_the_same_sweep(service: Service) -> None:
    response = create(service, name="whole", spec=SMALL.as_dict())
    assert response.status == 201, response.text
    assert service.ask("/api/v1/sweeps/whole", token=OPERATOR).json["stages"]["search"]["waiting"] == 4
    response = create(service, name="tiny", spec=preset("tiny").as_dict())
    assert create(service, name="tiny", preset="tiny").json == response.json | {"new": False}


@pytest.mark.parametrize(
    ("body", "message"),
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
def test_an_invalid_spec_is_refused_in_one_line_with_what_is_allowed(service: Service, body: Any, message: str) -> None:
    before = names(service)
    refused = service.ask("/api/v1/sweeps", method="POST", token=OPERATOR, body=body)
    assert refused.status == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert message in refused.json["detail"]
    assert refused.json["exit_code"] == 2
    assert names(service) == before


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        *((body, "application/json", "") for body in (b"", b"{", b"[]", b"null", b"\xff", b'{"name": 1e999}')),
        (b'{"name": }', "application/json", "the body is not JSON: Expecting value at character 9"),
        (b"[" * 100_000, "application/json", "the body cannot be read: not UTF-8, nested too deeply"),
        (b'{"name": "x", "preset": "tiny"}', "text/plain", "needs the header Content-Type: application/json"),
    ],
)
def test_a_malformed_request_is_refused(service: Service, body: bytes, kind: str, message: str) -> None:
    headers = {"Content-Type": kind}
    refused = service.ask("/api/v1/sweeps", method="POST", token=OPERATOR, body=body, headers=headers)
    assert 400 <= refused.status < 500
    assert message in json.loads(refused.body)["detail"]


@pytest.mark.parametrize("body", [{"seeds": True}, {"seeds": "3"}, {"seeds": 3, "dry_run": "no"}])
def test_numbers_in_another_type_extend_nothing(service: Service, body: Any) -> None:
    assert create(service, name="kept", preset="tiny").status in (200, 201)
    refused = service.ask("/api/v1/sweeps/kept/extend", method="POST", token=OPERATOR, body=body)
    assert refused.status == 422
    assert "allowed: a valid" in refused.json["detail"]


def test_server_files_and_code_are_refused_with_the_option_that_allows_them(service: Service) -> None:
    refused = create(service, name="files", preset="tiny", changes={"source.teacher": "logits:/etc/passwd"})
    assert refused.status == 403, refused.text
    assert "no request names a file" in refused.json["detail"]
    refused = create(service, name="code", preset="tiny", changes={"search.sampler": "os:abort"})
    assert refused.status == 403, refused.text
    assert "--allow-code" in refused.json["detail"]
    assert "kd-sweeps create NAME my.toml --storage URL" in refused.json["detail"]
    assert not {"files", "code"} & set(names(service))


def test_allow_code_permits_a_users_sampler_but_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sampler_of_ones_own.py").write_text("def make(seed):\n    return 'it was run'\n")
    monkeypatch.syspath_prepend(tmp_path)
    with serving(f"sqlite:///{tmp_path}/s.db", folder=tmp_path, tokens=TOKENS, allow_code=True) as service:
        reply = create(service, name="code", preset="tiny", changes={"search.sampler": "sampler_of_ones_own:make"})
        assert reply.status == 422
        assert "it was run" in reply.json["detail"]
        assert create(service, name="file", preset="tiny", changes={"source.dataset": "x.npz"}).status == 403


def test_a_service_limited_to_some_sweeps_creates_and_shows_no_other(tmp_path: Path) -> None:
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
