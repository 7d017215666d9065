"""The interface as it is described: kept in the repository, and held by requests that schemathesis makes up."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.sweeps import reported_sweeps
from tests.support.web.openapi_document import FILE, current
from tests.support.web.services import OPERATOR, TOKENS, WORKER, Service, serving

DOCUMENT = json.loads(FILE.read_text(encoding="utf-8"))
every_operation = pytest.mark.parametrize(
    "label", [f"{method.upper()} {path}" for path, methods in DOCUMENT["paths"].items() for method in methods]
)
few_and_many = pytest.mark.parametrize("examples", [5, pytest.param(15, marks=pytest.mark.slow)])


def test_the_document_in_the_repository_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == current(), "to rewrite it: python -m tests.support.web.openapi_document"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with tokens on a finished sweep "s"."""
    folder = tmp_path_factory.mktemp("openapi")
    with serving(reported_sweeps.worked(folder), folder=folder, tokens=TOKENS) as service:
        yield service


@pytest.fixture(scope="module")
def operations() -> dict[str, Any]:
    """The operations of the document, as schemathesis has them."""
    import schemathesis

    every = [result.ok() for result in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]
    return {operation.label: operation for operation in every}


@pytest.mark.processes
@few_and_many
@every_operation
def test_every_request_of_an_operator_gets_a_documented_answer(
    operations: dict[str, Any], label: str, examples: int, service: Service
) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
    from schemathesis import GenerationMode, checks
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
    identity = service.ask("/api/v1/work/s", token=WORKER).json["sweep"]["identity"]
    kinds = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    requests = st.one_of(*(operations[label].as_strategy(generation_mode=kind) for kind in kinds))

    @settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(requests)
    def send_one(case: Any) -> None:
        name = (case.path_parameters or {}).get("name")
        if name is not None and len(str(name)) % 3:  # names that are made up are mostly of none
            case.path_parameters = {**case.path_parameters, "name": "s"}
        if "identity" in (case.path_parameters or {}) and len(str(name)) % 2:
            case.path_parameters["identity"] = identity
        headers = {"Authorization": f"Bearer {WORKER if 'v1/work' in label else OPERATOR}"}
        case.call_and_validate(base_url=service.url, headers=headers, checks=checked, timeout=120)

    send_one()
