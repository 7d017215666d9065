"""The interface as it is described: kept in the repository, and held by requests that schemathesis makes up."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.url import resolve
from sweeps.operations.operation import LocalClient
from tests.support.sweeps import reported_sweeps
from tests.support.web.openapi_document import FILE, current
from tests.support.web.services import OPERATOR, TOKENS, VIEWER, Service, serving

DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))
every_operation = pytest.mark.parametrize(
    "label", [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
)
few_and_many = pytest.mark.parametrize("examples", [5, pytest.param(15, marks=pytest.mark.slow)])

Send = Callable[..., None]


def test_the_document_in_the_repository_is_that_of_the_service() -> None:
    assert FILE.read_text(encoding="utf-8") == current(), "write it anew: python -m tests.support.web.openapi_document"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished sweep "s" in s.db."""
    folder = tmp_path_factory.mktemp("openapi")
    reported_sweeps.worked(folder)
    return folder


@pytest.fixture(scope="module")
def service(place: Path) -> Iterator[Service]:
    """A service with tokens on that sweep."""
    with serving(f"sqlite:///{place}/s.db", folder=place, tokens=TOKENS) as service:
        yield service


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    """The operations of the document, as schemathesis has them."""
    import schemathesis

    every = [result.ok() for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]
    return {operation.label: operation for operation in every}


def state(place: Path) -> str:
    database = LocalClient(resolve(f"sqlite:///{place}/s.db"))
    return repr((database.status("s").stages, database.trials("s"), database.sweeps()))


@pytest.mark.processes
@few_and_many
@every_operation
def test_whatever_an_operator_sends_is_answered_as_described(
    operations: dict[str, Any], label: str, examples: int, service: Service
) -> None:
    from schemathesis import checks
    from schemathesis.specs.openapi import checks as described

    # That every order needs its role is told in test_roles.py; what is well formed may be refused: no such sweep.
    checked = [
        checks.not_a_server_error,
        described.status_code_conformance,
        described.content_type_conformance,
        described.response_headers_conformance,
        described.response_schema_conformance,
        described.unsupported_method,
    ]

    def send(case: Any) -> None:
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        case.call_and_validate(base_url=service.url, headers=headers, checks=checked, timeout=120)

    sent(operations[label], examples, send)


@pytest.mark.processes
@few_and_many
@every_operation
def test_whatever_a_viewer_sends_changes_nothing(
    operations: dict[str, Any], label: str, examples: int, service: Service, place: Path
) -> None:
    from hypothesis import strategies as st

    before = state(place)

    def send(case: Any, who: tuple[str, int]) -> None:
        token, refused = who
        answer = case.call(base_url=service.url, headers={"Authorization": f"Bearer {token}"}, timeout=120)
        assert answer.status_code < 500
        if case.method not in ("GET", "HEAD"):
            assert answer.status_code in (refused, 401), answer.text  # one of its mutations is to send no token

    sent(operations[label], examples, send, st.sampled_from([(VIEWER, 403), ("", 401), ("operator", 401)]))
    assert state(place) == before


def sent(operation: Any, examples: int, send: Send, *more: Any) -> None:
    """Send so many requests that fit the description, or do not; two of three about the sweep that is there."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
    from schemathesis import GenerationMode

    kinds = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    requests = st.one_of(*(operation.as_strategy(generation_mode=kind) for kind in kinds))

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.tuples(requests, *more))
    def send_one(drawn: tuple[Any, ...]) -> None:
        case, *rest = drawn
        name = (case.path_parameters or {}).get("name")
        if name is not None and len(str(name)) % 3:  # names that are made up are mostly of none
            case.path_parameters = {**case.path_parameters, "name": "s"}
        send(case, *rest)

    send_one()
