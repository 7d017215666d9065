"""The calls between a worker and a service: each with its arguments and its answer.

JSON that the tables hold as text is sent as that text, so that the stored bytes are the same with and without a
service, a NaN included.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from storage import json_text
from storage.errors import BlobCorrupt, RecordBroken, StorageError, StorageFull, SweepNotFound
from storage.queue.workers import Seen
from storage.records.queries import Outlook
from storage.tables import SweepRecord, TaskRecord
from sweeps.launch.oversight import Outline
from sweeps.operations.operation import A, Args, R
from sweeps.plan.phases import STAGES
from sweeps.query.status import StageCount
from sweeps.workers.logs import KEPT_BYTES, MOST_REASON

PREFIX = "/api/v1/work/"
VERSION = 1  # of these calls; a worker refuses a service with another one
MOST_BLOB_BYTES = 256_000_000
MOST_BLOBS = 32  # of one attempt
UPLOAD_S = 600.0
ERROR_HEADER = "KD-Sweeps-Error"
ERRORS: Mapping[str, type[StorageError]] = {
    kind.__name__: kind for kind in (BlobCorrupt, RecordBroken, StorageFull, SweepNotFound)
}
"""Errors that a worker distinguishes; the header of the answer has their name."""


def _parsed(value: Any) -> Any:
    return json_text.parse(value) if isinstance(value, str) else value


def _stage(name: str) -> str:
    if name not in STAGES:
        raise ValueError(f"one of {', '.join(STAGES)}")
    return name


Stage = Annotated[str, AfterValidator(_stage)]
Stored = Annotated[
    dict[str, Any],
    BeforeValidator(_parsed),
    PlainSerializer(json.dumps, return_type=str),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
]
_WITHOUT_NUL = r"^[^\x00]*$"  # Postgres refuses NUL
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x20\x7f]+$")]
Reason = Annotated[str, Field(max_length=MOST_REASON, pattern=_WITHOUT_NUL)]
Log = Annotated[str, Field(max_length=KEPT_BYTES, pattern=_WITHOUT_NUL)]
Whole = Annotated[int, Field(ge=0, lt=2**31)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


@dataclass(frozen=True)
class Sweep(SweepRecord):
    spec: Stored
    provenance: Stored


@dataclass(frozen=True)
class Task(TaskRecord):
    payload: Stored
    outcome: Stored | None = None
    params: Stored | None = None


@dataclass(frozen=True)
class Opened:
    """A sweep as a worker opens it. version: of the calls."""

    version: int
    sweep: Sweep


class NoArgs(Args):
    pass


class WorkerArgs(Args):
    worker: Name


class ProcessArgs(WorkerArgs):
    """A worker and its process."""

    host: Name
    pid: Whole


class SignInArgs(ProcessArgs):
    provenance: Stored


class SignOutArgs(WorkerArgs):
    reason: Reason | None


class AttemptArgs(WorkerArgs):
    """An attempt: its worker, the id of its task in the database, and its number, which fences."""

    task: Whole
    attempt: Whole


class RenewArgs(AttemptArgs):
    idle_s: Seconds
    log: Log | None


class EndArgs(AttemptArgs):
    state: Literal["failed", "released"]
    error_class: Annotated[str, Field(max_length=64)] | None
    reason: Reason
    trace: Log | None
    log: Log | None


class FinishArgs(AttemptArgs):
    outcome: Stored
    score: float
    log: Log | None


class RepairArgs(WorkerArgs):
    first: bool


class StageArgs(Args):
    stage: Stage


class DoneArgs(Args):
    """Which finished tasks. stage, keys: None for all."""

    stage: Stage | None
    keys: list[Annotated[str, Field(max_length=128)]] | None


class SelectionArgs(Args):
    name: Name


class FreezeArgs(AttemptArgs):
    name: Name
    value: Stored


class BlobArgs(AttemptArgs):
    digest: Digest


class NumberArgs(Args):
    """A number of workers."""

    number: Annotated[int, Field(ge=0, le=10_000)]


class ReapArgs(WorkerArgs):
    """A worker whose process has died: how it ended, and the end of its log."""

    reason: Reason
    log: Log | None


@dataclass(frozen=True)
class Call(Generic[A, R]):
    """A call to the queue of a sweep. name: also the end of its path, and with _ for - a method of `Queue`.

    answer: its type.
    """

    name: str
    args: type[A]
    answer: Any


Point: TypeAlias = Stored | None

OUTLOOK = Call[NoArgs, Outlook]("outlook", NoArgs, Outlook)
SIGN_IN = Call[SignInArgs, None]("sign-in", SignInArgs, None)
SIGN_OUT = Call[SignOutArgs, None]("sign-out", SignOutArgs, None)
CLAIM = Call[ProcessArgs, Task | None]("claim", ProcessArgs, Task | None)
DEADLINE = Call[StageArgs, float]("deadline", StageArgs, float)
START = Call[AttemptArgs, Point]("start", AttemptArgs, Point)
RENEW = Call[RenewArgs, bool]("renew", RenewArgs, bool)
END = Call[EndArgs, bool]("end", EndArgs, bool)
FINISH = Call[FinishArgs, bool]("finish", FinishArgs, bool)
REPAIR = Call[RepairArgs, None]("repair", RepairArgs, None)
DONE = Call[DoneArgs, list[Task]]("done", DoneArgs, list[Task])
SELECTION = Call[SelectionArgs, Point]("selection", SelectionArgs, Point)
FREEZE = Call[FreezeArgs, Stored]("freeze", FreezeArgs, Stored)
KEEP = Call[BlobArgs, bool]("keep", BlobArgs, bool)
# Further calls of a launch.
TO_WAKE = Call[NumberArgs, list[str]]("to-wake", NumberArgs, list[str])
SEEN = Call[NoArgs, dict[str, Seen]]("seen", NoArgs, dict[str, Seen])
HAS_FINISHED = Call[WorkerArgs, bool]("has-finished", WorkerArgs, bool)
REAP = Call[ReapArgs, None]("reap", ReapArgs, None)
CHECK_ROOM = Call[WorkerArgs, None]("check-room", WorkerArgs, None)
COUNTS = Call[NoArgs, dict[str, StageCount]]("counts", NoArgs, dict[str, StageCount])
OUTLINE = Call[NumberArgs, Outline]("outline", NumberArgs, Outline)
FAILURES = Call[NoArgs, list[str]]("failures", NoArgs, list[str])
PUBLISH = Call[NoArgs, None]("publish", NoArgs, None)
