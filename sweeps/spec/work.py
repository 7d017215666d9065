"""The tables of a spec that say how work is shared: leases, limits and retries. No result depends on them."""

from collections.abc import Sequence
from statistics import median
from typing import Annotated

from pydantic import Field

from sweeps.spec.bounds import MOST_LEASE_S, MOST_SECONDS, Cap, SpecModel

_LEAST_S, _MEDIANS = 600.0, 20.0  # of a limit that is not given

Silence = Annotated[float, Field(ge=0, le=MOST_SECONDS, strict=True)]


class Lease(SpecModel):
    """How a dead worker is noticed."""

    interval_s: float = Field(
        default=10, gt=0, le=MOST_LEASE_S, strict=True, description="a worker renews its lease this often"
    )
    grace_s: float = Field(
        default=50,
        gt=0,
        le=MOST_LEASE_S,
        strict=True,
        description="without renewal for interval + grace, the task is free again",
    )

    @property
    def seconds(self) -> float:
        """How long a lease lasts."""
        return self.interval_s + self.grace_s


class Limits(SpecModel):
    """Seconds without a step after which a task is ended; 0 = 20 times the stage's median task, 600 at least.
    Below 60, a task may be ended while its process is still starting.
    """

    teachers: Silence = 0
    search: Silence = 0
    baselines: Silence = 0
    confirm: Silence = 0
    native: Silence = 0
    transfer: Silence = 0
    measure: Silence = 0

    def of(self, stage: str, finished_s: Sequence[float]) -> float:
        """Return the seconds without a step after which a task of a stage is ended.

        Args:
            finished_s: how long tasks of the stage took that are done.
        """
        given = float(getattr(self, stage))
        return given or max(_LEAST_S, _MEDIANS * median(finished_s or (0.0,)))


class Retry(SpecModel):
    """Maximum attempts of one task per failure class; 0 = unlimited."""

    lost_worker: Cap = Field(default=5, description="its worker died")
    memory: Cap = Field(default=2, description="no memory was left")
    database: Cap = Field(default=5, description="the database was gone for longer than a worker waits")
    timeout: Cap = Field(default=2, description="it made no step for the time in limits")
    nan: Cap = Field(default=1, description="the loss was no longer finite: the same seed diverges again")
    error: Cap = Field(default=2, description="the training raised anything else")
