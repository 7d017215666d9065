"""The tables that every spec has, from search to retry; `Group`; a validation error as one line."""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from statistics import median
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from storage.studies.space import SAMPLERS, USERS_SAMPLER
from sweeps.stats.verdict import LEVELS, RULE
from sweeps.terminal import truncated

# Bounds far beyond any real sweep, but small enough to catch typing errors.
MOST = 100_000
MOST_SECONDS = 10_000_000  # four months
MOST_LEASE_S = 86_400
MARGIN_SHARE = 0.2  # default of new sweeps: the fraction of the gain that may be lost
_LEAST_S, _MEDIANS = 600.0, 20.0  # of a default limit: least seconds, number of median durations
USERS_OWN = re.compile(r"(?:[A-Za-z_][\w.]*|.*/[^/]*\.py):[A-Za-z_]\w*")

Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Cap = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Seconds = Annotated[int, Field(ge=1, le=MOST_SECONDS, strict=True)]
LeaseSeconds = Annotated[float, Field(gt=0, le=MOST_LEASE_S, strict=True)]
Silence = Annotated[float, Field(ge=0, le=MOST_SECONDS, strict=True)]
TableT = TypeVar("TableT", "Confirm", "Repeats")


def _each_once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = next((value for value in values if values.count(value) > 1), None)
    if repeated is not None:
        raise ValueError(f"each of them once; {repeated} is there {values.count(repeated)} times")
    return values


EachOnce = AfterValidator(_each_once)


class SpecModel(BaseModel):
    """Base of all tables: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    ORDER: ClassVar[tuple[str, ...]] = ()  # of the keys, if not that of the fields, where a base class's come first

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return cls.ORDER or tuple(cls.model_fields)


class Lease(SpecModel):
    """How a dead worker is noticed."""

    interval_s: LeaseSeconds = Field(default=10, description="a worker renews its lease this often")
    grace_s: LeaseSeconds = Field(
        default=50, description="without renewal for interval + grace, the task is free again"
    )

    @property
    def seconds(self) -> float:
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
    recipes: Silence = 0
    transfer: Silence = 0
    measure: Silence = 0

    def of(self, stage: str, finished_s: Sequence[float]) -> float:
        """Return the seconds without a step after which a task of a stage is ended.

        finished_s: durations of the stage's done tasks.
        """
        limit = float(getattr(self, stage))
        return limit or max(_LEAST_S, _MEDIANS * median(finished_s or (0.0,)))


class Retry(SpecModel):
    """Maximum attempts of one task per failure class; 0 = unlimited."""

    lost_worker: Cap = Field(default=5, description="its worker died")
    memory: Cap = Field(default=2, description="out of memory")
    database: Cap = Field(default=5, description="the database was unreachable for too long")
    timeout: Cap = Field(default=2, description="no step for the time in limits")
    nan: Cap = Field(default=1, description="the loss became NaN or infinite; the same seed would diverge again")
    error: Cap = Field(default=2, description="any other error of the training")


def first_problem(error: ValidationError, model: type[SpecModel]) -> str:
    """Return the first problem as one line; an unknown key before all others.

    model: the validated table, for its allowed keys.
    """
    # An unknown key is usually misspelt: report that rather than the key that is therefore missing.
    problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    location = problem["loc"]
    is_value = location[-1:] in _VALUES  # of a point: pydantic names the first type that does not fit
    key = ".".join(map(str, location[:-1] if is_value else location))
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {_allowed(problem['loc'], model)}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    text = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if is_value and problem["type"] != "finite_number":
        text = "a number, a text, true or false"
    text = re.sub(r"(less|greater) than or equal to (\S+)", r"\2 or \1", text).replace("or greater", "or more")
    return f"{key}: got {truncated(json.dumps(problem['input'], default=str), 100)}; allowed: {text}" if key else text


_VALUES = (("int",), ("float",), ("str",), ("bool",))


def _allowed(location: Sequence[str | int], model: type[SpecModel]) -> str:
    """Return the allowed keys, after the key probably meant: a similar one, or this one in another table."""
    table, (*place, last) = model, map(str, location)
    for name in place:
        (table,) = _tables(table.model_fields[name].annotation)
    prefix = "".join(f"{name}." for name in place)
    near = [f"{prefix}{match}" for match in get_close_matches(last, table.names(), n=1)]
    meant = near or [key for key in _keys(model) if key.rpartition(".")[2] == last]
    hint = f"did you mean {' or '.join(meant[:2])}? " if meant else ""
    return f"{hint}keys of this table: {', '.join(table.names())}"


def _keys(model: type[SpecModel], prefix: str = "") -> Iterator[str]:
    for name in model.names():
        yield f"{prefix}{name}"
        for table in _tables(model.model_fields[name].annotation):
            yield from _keys(table, f"{prefix}{name}.")


def _tables(annotation: Any) -> list[type[SpecModel]]:
    """Return the table type in an annotation, as a list; empty for a plain value."""
    kinds = (annotation, *get_args(annotation))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, SpecModel)]


_A_NAME = re.compile(r"[^\W_][\w ()+.-]{0,63}")


def meant(name: str, allowed: Iterable[str]) -> str:
    """Return "did you mean NAME? " for a similar allowed name; "" if there is none."""
    near = get_close_matches(name, list(allowed), n=1)
    return f"did you mean {near[0]}? " if near else ""


def free_name(name: str) -> str:
    if name and not _A_NAME.fullmatch(name):
        raise ValueError("1 to 64 letters, digits, spaces and ()+-._, the first one a letter or a digit")
    return name


def _known_sampler(name: str) -> str:
    if name not in SAMPLERS and not USERS_OWN.fullmatch(name):
        raise ValueError(meant(name, SAMPLERS) + ", ".join(SAMPLERS) + " or package.module:make, or ./file.py:make")
    return name


class Search(SpecModel):
    """The search; the native search on the target is the same."""

    trials: Count = Field(description="points, each trained once with the same seed")
    sampler: Annotated[str, AfterValidator(_known_sampler)] = Field(
        default="tpe",
        description="qmc (scrambled Sobol), tpe, gp (needs torch), random, package.module:make or ./file.py:make;"
        " the first half of tpe and gp is Sobol",
    )
    lag: Count = Field(
        default=8,
        description="trial i is proposed from the outcomes of trials 0 to i - lag, so up to lag trials run at once",
    )

    @property
    def planned(self) -> int:
        """The number of trials that are Sobol points, fixed in the plan."""
        return math.ceil(self.trials * SAMPLERS.get(self.sampler, USERS_SAMPLER).sobol)

    @property
    def method(self) -> str:
        """The method that proposes the others, in words."""
        return SAMPLERS[self.sampler].method if self.sampler in SAMPLERS else f"`{self.sampler}`"


def _fewer_each_time(table: TableT) -> TableT:
    points = [top for top, _ in table.rounds]
    if any(later > earlier for earlier, later in itertools.pairwise(points)):
        raise ValueError(f"a round cannot have more points than the previous one; got {points}")
    return table


class Confirm(SpecModel):
    """The best trials, repeated on fresh seeds: the best mean wins, not the luckiest run.

    `top` and `seeds` stand for one round of so many points and seeds.
    """

    rounds: tuple[tuple[Count, Count], ...] = Field(
        min_length=1,
        description="[points, fresh seeds per point] of each round, which keeps the best of the previous one",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_round(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not {"top", "seeds"} & set(values):
            return values
        rest = {name: value for name, value in values.items() if name not in ("top", "seeds")}
        (top, seeds), *_ = rest.get("rounds") or ((None, None),)
        top, seeds = values.get("top", top), values.get("seeds", seeds)
        if top is None or seeds is None:
            raise ValueError("give top and seeds, or rounds")
        return rest | {"rounds": ((top, seeds),)}

    _halving = model_validator(mode="after")(_fewer_each_time)

    @property
    def top(self) -> int:
        """The number of points in the first round."""
        return self.rounds[0][0]

    @property
    def trainings(self) -> int:
        return sum(points * seeds for points, seeds in self.rounds)


class RoleSpec(SpecModel):
    """A dataset."""

    dataset: str = Field(min_length=1)
    name: Annotated[str, AfterValidator(free_name)] = Field(
        default="", description="display name of your own dataset, instead of its path"
    )

    @property
    def shown(self) -> str:
        """The display name of the dataset."""
        return self.name or self.dataset


@dataclass(frozen=True, order=True)
class Group:
    """One teacher and one of its searches, both counted from 0. Names carry its tag, except for the first."""

    prepared: int = 0
    search: int = 0

    @property
    def tag(self) -> str:
        """Its tag: "t1s2" for the third search of the second teacher, "" for the first of the first."""
        return "" if self == FIRST else f"t{self.prepared}s{self.search}"

    @property
    def preparation(self) -> str:
        """The tag of its teacher, which all its searches share: "t1", or ""."""
        return f"t{self.prepared}" if self.prepared else ""

    @classmethod
    def parse(cls, tag: str) -> "Group":
        """Return the group of either kind of tag; raise ValueError for any other text."""
        match = re.fullmatch(r"(?:t(\d+))?(?:s(\d+))?", tag)
        if match is None:
            raise ValueError(f"no teacher and search: {tag!r}")
        return cls(int(match[1] or 0), int(match[2] or 0))


FIRST = Group()


class Transfer(SpecModel):
    """The arms, compared on seeds not used for any selection; only this stage reads the test set."""

    seeds: Count = Field(description="of native and best on a target, the arms of the verdict")
    other_seeds: Cap = Field(default=0, description="of every other arm: the first so many of `seeds`; 0 = all")
    margin: float = Field(
        default=1.0, gt=0, le=100, description="accuracy points of regret that still count as transfer"
    )
    margin_share: float = Field(
        default=0.0, ge=0, lt=1, description="the same as a share of the gain, used instead; 0: `margin` is used"
    )
    looks: Annotated[int, Field(ge=1, le=3, strict=True)] = Field(
        default=3, description="planned evaluations on the test set, after added seeds or searches"
    )
    rule: Annotated[int, Field(ge=1, le=RULE, strict=True)] = Field(
        default=1,
        description="version of the verdict's rule; default: the newest (1 in older sweeps)",
    )
    source_arms: Annotated[tuple[str, ...], EachOnce] = ()
    target_arms: Annotated[tuple[str, ...], EachOnce] = ()

    def seeds_of(self, role: str, arm: str) -> int:
        """Return the number of seeds of an arm of the first group on the dataset of a role."""
        if not self.other_seeds or (role != "source" and arm in ("best", "native")):
            return self.seeds
        return min(self.other_seeds, self.seeds)

    @property
    def advises(self) -> bool:
        """Whether its rule recommends a choice; older rules, which their sweeps keep, give a verdict in a word."""
        return self.rule >= 3

    def level(self, look: int) -> float:
        """Return the error rate of each one-sided test of the verdict at a look, counted from 1."""
        return LEVELS[self.rule][self.looks][look - 1]


class Repeats(SpecModel):
    """Other teachers and other searches; one of each says nothing about their spread."""

    teachers: Count = 1
    searches: Count = Field(default=1, description="per teacher; from 3 on the regret's interval covers their spread")
    trials: Cap = Field(default=0, description="of each further search; 0 = as the first")
    rounds: tuple[tuple[Count, Count], ...] = Field(
        default=(), description="of each further search's confirm; none = as the first"
    )
    seeds: Cap = Field(default=0, description="of each arm of a further search; 0 = as the first")

    _halving = model_validator(mode="after")(_fewer_each_time)
