"""Bounds of the numbers in a spec, and what all of its tables share."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# Generous bounds: far beyond what anybody can wait for, and small enough that a slip of the finger is answered at once.
MOST = 100_000
MOST_IMAGES = 100_000_000
LEAST_PIXELS, MOST_PIXELS = 8, 4_096  # of a side; no smaller image is trained on
MOST_VIEWS = 1_000  # each of them is stored for every image, with its own logits
MOST_PARAMETERS = 10_000_000_000
MOST_SECONDS = 10_000_000  # four months
MOST_LEASE_S = 86_400

Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Cap = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Seconds = Annotated[int, Field(ge=1, le=MOST_SECONDS, strict=True)]


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    again = next((value for value in values if values.count(value) > 1), None)
    if again is not None:
        raise ValueError(f"each of them once; {again} is there {values.count(again)} times")
    return values


EachOnce = AfterValidator(_each_once)


class SpecModel(BaseModel):
    """What all tables share: unknown keys are refused, and nothing changes once it is made."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
