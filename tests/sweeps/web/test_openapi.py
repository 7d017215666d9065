"""The interface as it is described: kept in the repository, and held by requests that schemathesis makes up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from storage.url import resolve
from sweeps.contrib.server.app import make_app
from sweeps.operations.operation import LocalClient
from tests.support.sweeps import reported_sweeps
from tests.support.web.openapi_document import FILE, current
from tests.support.web.services import OPERATOR, TOKENS, VIEWER, Service, serving

EXAMPLES = 15
FEW = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


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


API = schemathesis.openapi.from_dict(
    make_app(resolve("sqlite:///none.db"), with_dashboard=False).openapi(),
)
OPERATIONS = [found.ok() for found in API.get_all_operations()]
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)


def state(place: Path) -> str:
    database = LocalClient(resolve(f"sqlite:///{place}/s.db"))
    return repr((database.status("s").stages, database.trials("s"), database.sweeps()))


@pytest.mark.processes
@every_operation
def test_whatever_an_operator_sends_is_answered_as_described(operation: Any, service: Service) -> None:
    @FEW
    @given(requests(operation))
    def send(case: schemathesis.Case) -> None:
        _named(case)
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        case.call_and_validate(base_url=service.url, headers=headers, checks=CHECKS, timeout=120)

    send()


@pytest.mark.processes
@every_operation
def test_whatever_a_viewer_sends_changes_nothing(operation: Any, service: Service, place: Path) -> None:
    before = state(place)

    @FEW
    @given(requests(operation), st.sampled_from([(VIEWER, 403), ("", 401), ("operator", 401)]))
    def send(case: schemathesis.Case, who: tuple[str, int]) -> None:
        token, refused = who
        _named(case)
        answer = case.call(base_url=service.url, headers={"Authorization": f"Bearer {token}"}, timeout=120)
        assert answer.status_code < 500
        if case.method not in ("GET", "HEAD"):
            assert answer.status_code in (refused, 401), answer.text  # one of its mutations is to send no token

    send()
    assert state(place) == before


def requests(operation: Any) -> Any:
    """What fits the description, and what does not."""
    kinds = schemathesis.GenerationMode
    return st.one_of(*(operation.as_strategy(generation_mode=kind) for kind in (kinds.POSITIVE, kinds.NEGATIVE)))


# That every order needs its role is told in test_roles.py; and what is well formed may still be refused: no such sweep.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


def _named(case: schemathesis.Case) -> None:
    """Let two requests of three be about the sweep that is there: names that are made up are mostly of none."""
    name = (case.path_parameters or {}).get("name")
    if name is not None and len(str(name)) % 3:
        case.path_parameters = {**case.path_parameters, "name": "s"}
