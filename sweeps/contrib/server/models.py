"""What requests bring and what answers hold beside the values of `sweeps.query` and `sweeps.operations`."""

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field

from sweeps.extensions import KD, trainer_kind
from sweeps.operations.operation import encode
from sweeps.spec.model import Name
from sweeps.spec.tables import MOST

Row = TypeVar("Row")
MOST_ROWS = 10_000
_NAME = f"^{Name.pattern}$"
_NAMES = list(trainer_kind(KD).presets)
_PRESETS: list[Any] = [*_NAMES, None]

Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows at most.")]
Offset = Annotated[int, Query(ge=0, le=MOST * 1000, description="Rows to pass over.")]


class Page(BaseModel, Generic[Row]):
    """Rows from an offset on. total: of all pages. next_offset: where the next page begins; null on the last one."""

    items: list[Row]
    total: int
    next_offset: int | None


class CreateRequest(BaseModel):
    """A sweep to be made, as `kd-sweeps create` makes it: of a preset or of a spec, with changes."""

    model_config = ConfigDict(extra="forbid")

    # Described and not checked here: our own lines say what to type instead.
    name: str = Field(max_length=200, examples=["mnist-kd"], json_schema_extra={"pattern": _NAME})
    preset: str | None = Field(default=None, max_length=100, examples=_NAMES, json_schema_extra={"enum": _PRESETS})
    spec: dict[str, Any] | None = Field(default=None, description="A whole spec, as `kd-sweeps report -f json` has it.")
    changes: dict[str, Any] = Field(
        default_factory=dict, description="Dotted keys of the spec.", examples=[{"search.trials": 50}]
    )


class CreatedSweep(BaseModel):
    """A sweep that is there now. new: whether this request made it. tasks: how many it has."""

    name: str
    new: bool
    fingerprint: str
    tasks: int


class Health(BaseModel):
    """That the service is there. version: of kd-sweeps."""

    status: str
    version: str


def answer(kind: Any, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value of a type as a JSON response: FastAPI's own would write NaN as null."""
    return Response(encode(kind, value), status, headers, "application/json")


def page_of(kind: Any) -> Any:
    return Page[kind]


def page(kind: Any, rows: list[Any], *, total: int, offset: int) -> Response:
    after = offset + len(rows)
    body = Page[kind](items=rows, total=total, next_offset=after if rows and after < total else None)
    return answer(Page[kind], body)
