"""What a service accepts from workers, and from which attempt. Roles are in test_roles.py."""

import hashlib
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.db.engine import open_engine
from storage.errors import NotAStorage, SweepNotFound, Unreachable
from storage.queue.tasks import Ending
from storage.records import queries
from storage.tables import TaskRecord
from storage.url import resolve
from sweeps.contrib.server import app, work, worker_client, worker_routes
from sweeps.contrib.server.worker_client import HttpBackend
from sweeps.errors import SweepError
from sweeps.plan.jobs import read_job
from sweeps.spec.model import override
from sweeps.trainers.protocol import Steps
from sweeps.workers.attempt import as_stored
from sweeps.workers.reach import Service as Reached
from tests.support.present import present
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import SMALL, created, tasks_of, wait_until
from tests.support.web.services import OPERATOR, TOKENS, VIEWER, WORKER, Service, serving


@pytest.fixture
def url(tmp_path: Path) -> str:
    at = f"sqlite:///{tmp_path}/s.db"
    created(at)
    return at


@pytest.fixture
def service(url: str, tmp_path: Path) -> Iterator[Service]:
    with serving(url, folder=tmp_path, tokens=TOKENS) as service:
        yield service


def opened(service: Service, token: str = WORKER, name: str = "s") -> HttpBackend:
    return HttpBackend.open(Reached(service.url, token), name)


def searching(backend: HttpBackend) -> tuple[TaskRecord, dict[str, Any], dict[str, Any], float]:
    """Finish the teachers and claim a search; return the claim, its point, the outcome to store and its score."""
    while True:
        claim = present(backend.claim("w"))
        params = present(backend.start(claim, read_job(claim)))
        outcome = quadratic(read_job(claim), params, Steps())
        values = as_stored(read_job(claim), outcome, wall_s=0.1, worker="w")
        if claim.stage == "search":
            return claim, params, values, outcome.score
        assert backend.finish(claim, outcome=values, score=outcome.score, log=None)


def test_a_claim_whose_answer_was_lost_is_answered_again(service: Service) -> None:
    backend = opened(service)
    first = present(backend.claim("w"))
    assert backend.claim("w") == first
    assert present(backend.claim("v")).key != first.key


def test_an_attempt_belongs_to_its_worker_alone(service: Service) -> None:
    backend = opened(service)
    claim, _, values, score = searching(backend)
    other = TaskRecord(**vars(claim) | {"worker": "v"})
    assert backend.start(other, read_job(other)) is None
    assert not backend.renew(other, idle_s=0.0, log=None)
    assert not backend.finish(other, outcome=values, score=score, log=None)
    assert not backend.end(other, Ending("failed", "error", "no"))
    assert backend.finish(claim, outcome=values, score=score, log=None)


def test_a_result_is_validated_like_an_archive_before_it_is_stored(service: Service, url: str) -> None:
    backend = opened(service)
    claim, params, values, score = searching(backend)
    trial = values["trial"]
    nested: Any = []
    for _ in range(200):
        nested = [nested]
    wrong: list[tuple[dict[str, Any], float, str]] = [
        ({"val_accuracy": "good"}, score, "val_accuracy is 'good'"),
        ({"val_accuracy": score / 2}, score, "expected val_accuracy"),
        ({}, float("nan"), "its score is nan"),
        ({}, score / 2, "expected val_accuracy"),
        ({"val_accuracy": 1.7, "trial": trial | {"value": 1.7}}, 1.7, "allowed: 0 to 1"),
        ({"temperature": params["temperature"] + 1}, score, "expected temperature"),
        ({"alpha": 7}, score, "alpha is 7"),
        ({"seed": 99}, score, "expected seed"),
        ({"worker": "v"}, score, "expected worker 'w', got 'v'"),
        ({"trial": trial | {"value": 0.125}}, score, "its trial has the value 0.125"),
        ({"trial": trial | {"epoch_values": ["high"]}}, score, "expected accuracies after epochs 1"),
        ({"blobs": {"model": "0" * 64}}, score, "blob 000000000000 was not stored"),
        ({"parameters": -1}, score, "parameters is -1"),
        ({"facts": nested}, score, "nested more than 100 levels deep"),
    ]
    for change, stored, why in wrong:
        with pytest.raises(SweepError, match=why):
            backend.finish(claim, outcome=values | change, score=stored, log=None)
    with pytest.raises(SweepError, match="the body may have at most 1,000,000 bytes"):
        backend.finish(claim, outcome=values | {"detail": "x" * 1_000_000}, score=score, log=None)
    engine = open_engine(resolve(url))
    (task,) = [task for task in tasks_of(engine) if task.key == claim.key]
    assert (task.state, task.outcome) == ("running", None)
    assert backend.finish(claim, outcome=values, score=score, log=None)
    engine.dispose()


def test_a_result_without_a_saved_point_is_refused(service: Service) -> None:
    backend = opened(service)
    claim = present(backend.claim("w"))
    job = read_job(claim)
    outcome = quadratic(job, {}, Steps())
    with pytest.raises(SweepError, match="has saved no point"):
        backend.finish(claim, outcome=as_stored(job, outcome, wall_s=0.1, worker="w"), score=0.5, log=None)


def test_files_need_a_running_attempt_and_are_limited_in_size_and_number(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(work, "MOST_BLOB_BYTES", 5_000)
    monkeypatch.setattr(work, "MOST_BLOBS", 3)
    backend = opened(service)
    claim = present(backend.claim("w"))
    path, query = f"/api/v1/work/s/{backend.identity}/blobs/", f"?worker=w&task={claim.id}&attempt={claim.attempt}"

    def put(data: bytes, digest: str = "", *, query: str = query) -> tuple[int, str]:
        name = digest or hashlib.sha256(data).hexdigest()
        reply = service.ask(path + name + query, method="PUT", token=WORKER, body=data)
        return reply.status, reply.json["detail"] if reply.body else ""

    assert put(b"one") == (204, "")
    assert put(b"one") == (204, ""), "a repeated upload"
    assert put(b"two", "0" * 64)[1] == "blob 000000000000: its bytes have a different SHA-256"
    assert put(b"two", "../x")[0] in (404, 405, 422)
    assert put(b"two", query=query.replace("worker=w", "worker=v"))[1].endswith("is not running on v")
    assert put(b"x" * 5_001)[1] == "a file may have at most 5,000 bytes here"
    assert put(b"four")[1] == "an attempt may store at most 3 files"
    with pytest.raises(SweepError, match=r"a file of 5,001 bytes cannot be stored through a service; allowed: 5,000"):
        backend.put(b"x" * 5_001)


def test_known_bytes_are_neither_uploaded_nor_downloaded_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    backend = opened(service)
    present(backend.claim("w"))
    digest = backend.put(b"logits")
    assert backend.put(b"logits") == digest
    assert backend.get(digest) == b"logits"
    downloads = f"GET /api/v1/work/s/{backend.identity}/blobs"
    # A request is logged after its answer.
    wait_until(lambda: "PUT " in service.log, "the upload is not logged")
    assert (service.log.count("PUT "), service.log.count(downloads)) == (1, 0)
    (tmp_path / "cache" / "blobs" / digest).write_bytes(b"damaged")
    assert backend.get(digest) == b"logits"
    assert backend.get(digest) == b"logits"
    wait_until(lambda: downloads in service.log, "the download is not logged")
    assert service.log.count(downloads) == 1


def test_a_worker_may_freeze_its_trainers_values_but_no_selection_of_points(service: Service) -> None:
    backend = opened(service)
    present(backend.claim("w"))
    with pytest.raises(SweepError, match=r"selection 'source.ranks': allowed: none in this sweep"):
        backend.freeze("source.ranks", {"ranks": []})
    assert backend.selection("source.ranks") is None


def test_an_invalid_or_revoked_token_is_reported_in_one_line(service: Service, url: str, tmp_path: Path) -> None:
    with pytest.raises(NotAStorage, match="unknown token; ask the person who runs the service"):
        opened(service, "worker-token-no-more")
    with pytest.raises(NotAStorage, match="this service needs a token: set KD_SWEEPS_TOKEN"):
        opened(service, "")
    with pytest.raises(NotAStorage, match="a worker needs one of the role worker"):
        opened(service, OPERATOR)
    backend = opened(service)
    claim = present(backend.claim("w"))
    with serving(url, folder=tmp_path, tokens=TOKENS.replace(WORKER, "another-worker-token")) as without:
        backend._client.address = without.url
        for ask in (lambda: backend.renew(claim, idle_s=0.0, log=None), backend.outlook, lambda: backend.claim("w")):
            with pytest.raises(NotAStorage, match="unknown token"):
                ask()


def test_without_tokens_a_local_worker_works(url: str, tmp_path: Path) -> None:
    with serving(url, folder=tmp_path) as service:
        assert opened(service, "").claim("w") is not None


def test_another_server_or_version_is_reported_in_one_line(
    service: Service, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SweepNotFound, match=r"this service has no such sweep 'other'"):
        opened(service, name="other")
    newer = types.SimpleNamespace(**vars(work) | {"VERSION": work.VERSION + 1})
    with monkeypatch.context() as patch:
        patch.setattr(worker_routes, "work", newer)
        with pytest.raises(NotAStorage, match=r"is not kd-sweeps serve of this version \(calls of version 2, not 1\)"):
            opened(service)
    with monkeypatch.context() as patch:
        patch.setattr(app, "_ROUTERS", [router for router in app._ROUTERS if router is not worker_routes.router])
        with serving(url, folder=tmp_path) as old, pytest.raises(NotAStorage, match="it has no routes for workers"):
            opened(old, "")
    with pytest.raises(Unreachable, match=r"cannot use the service http://127\.0\.0\.1:1: Connection refused"):
        HttpBackend.open(Reached("http://127.0.0.1:1", WORKER), "s")


def test_a_recreated_sweep_gives_no_task_to_workers_of_its_predecessor(service: Service) -> None:
    backend = opened(service)
    claim = present(backend.claim("w"))
    backend.identity = "0" * 32
    assert backend.claim("w") is None
    assert backend.outlook() == queries.Outlook("deleted", 0)
    assert not backend.renew(claim, idle_s=0.0, log=None)


def test_code_that_proposes_points_needs_allow_code(tmp_path: Path) -> None:
    at = f"sqlite:///{tmp_path}/s.db"
    created(at, override(SMALL, {"search.sampler": "optuna.samplers:RandomSampler"}))
    with (
        serving(at, folder=tmp_path, tokens=TOKENS) as service,
        pytest.raises(NotAStorage, match="Python code, which this service runs only when started with --allow-code"),
    ):
        opened(service)
    with serving(at, folder=tmp_path, tokens=TOKENS, allow_code=True) as service:
        assert opened(service).claim("w") is not None


def test_a_remote_service_without_tls_gives_a_warning(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(service)
    assert "TLS" not in capsys.readouterr().err
    monkeypatch.setattr(worker_client, "is_loopback", lambda host: False)
    opened(service)
    assert "is without TLS: others can read token and results" in capsys.readouterr().err


def test_no_request_of_a_worker_is_answered_500(service: Service) -> None:
    identity = opened(service).identity
    wrong = {"worker": "a\0b", "task": 2**70, "attempt": -1}
    bodies: list[Any] = [{}, [], {"worker": "w"}, wrong, {"worker": "w" * 500}, {"stage": ""}]
    for call in (value for value in vars(work).values() if isinstance(value, work.Call)):
        for body in bodies:
            reply = service.ask(f"/api/v1/work/s/{identity}/{call.name}", method="POST", token=WORKER, body=body)
            assert reply.status < 500, (call.name, body, reply.text)
    assert json.loads(service.ask("/api/v1/openapi.json", token=VIEWER).body)["paths"]["/api/v1/work/{name}"]
