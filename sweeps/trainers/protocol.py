"""What the engine and a trainer tell each other. The engine never learns what is trained."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from sweeps.trainers.score import ACCURACY
from sweeps.trainers.score import Score as Score  # a trainer of one's own needs no other module of this room

if TYPE_CHECKING:
    from storage.studies.space import Space
    from sweeps.trainers.arms import Arm

Number: TypeAlias = int | float
Value: TypeAlias = int | float | str | bool

# Both stand beside the others, which are in a table of their own, since before there were any, where they are what a
# distillation has: a temperature above 0, and a share; nothing else knows them.
_APART: Mapping[str, Callable[[Value], bool]] = {
    "temperature": lambda value: isinstance(value, float) and value > 0,
    "alpha": lambda value: isinstance(value, float) and 0 <= value <= 1,
}
_LABELS = {"temperature": "T"}


def label(name: str) -> str:
    """Return what a parameter is called in a table or a sentence in ASCII: "T"."""
    return _LABELS.get(name, name)


@dataclass(frozen=True)
class Point:
    """A point of the search space: named values in the order of the space. Ranges are checked where they are used."""

    values: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> "Point":
        """Return the point with these values."""
        first = [(name, values[name]) for name in _APART if name in values]
        return cls((*first, *sorted((name, value) for name, value in values.items() if name not in _APART)))

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Point":
        """Return the point that `as_json` gave, beside whatever else is stored with it.

        Raises:
            KeyError: the stored values have no point, or half of one.
            TypeError, ValueError: a value of it is none.
        """
        more = stored.get("more", {})
        if not isinstance(more, Mapping):
            raise ValueError(f"more is {more!r} (it should be a table of names and numbers)")
        names = _APART if not more or any(name in stored for name in _APART) else ()
        apart = {name: float(stored[name]) for name in names}
        for name, value in more.items():
            if not isinstance(value, Value):
                raise ValueError(f"{name} is {value!r} (it should be a number, a name, true or false)")
        return cls.of(apart | dict(more))

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """In an answer it is one flat table of its values."""
        table = core_schema.no_info_after_validator_function(cls.of, handler.generate_schema(dict[str, Value]))
        return core_schema.json_or_python_schema(
            json_schema=table,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), table]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.as_dict),
        )

    @classmethod
    def at(cls, space: "Space", unit: Sequence[float]) -> "Point":
        """Return the point at these parts of the ranges, each in [0, 1), in the order of the space."""
        return cls.of({name: bounds.at(part) for (name, bounds), part in zip(space.items(), unit, strict=True)})

    def __getitem__(self, name: str) -> Any:
        """Return one of its values; raise a KeyError where it has none of that name."""
        return self.as_dict()[name]

    def as_dict(self) -> dict[str, Value]:
        """Return its values by name, as a trial of Optuna has them."""
        return dict(self.values)

    def text(self, digits: int = 3) -> str:
        """Return it in words: "T = 6.8, alpha = 0.724, learning_rate = 0.004"."""
        return ", ".join(f"{label(name)} = {_text(value, digits)}" for name, value in self.values)

    def brief(self, symbols: Mapping[str, str], *, most: int | None = None) -> str:
        """Return it, or its first values, as they stand below a name: "T 4.89, α 0.22"."""
        digits = (3, *(2 for _ in self.values))  # the first one has the wider range
        values = zip(self.values[:most], digits, strict=False)
        return ", ".join(f"{symbols.get(name, name)} {_text(value, count)}" for (name, value), count in values)

    def numbers(self, names: Iterable[str]) -> str:
        """Return its values alone, as a table has them below the names: "6.8, 0.724, 0.004"; "-" stands for none."""
        known = self.as_dict()
        return ", ".join(_text(known[name], 3) if name in known else "-" for name in names)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored beside other values."""
        known = self.as_dict()
        # One alone is a parameter like any other; so are two of a trainer that means something else by them.
        names = _APART if all(name in known and bounds(known[name]) for name, bounds in _APART.items()) else ()
        more = {name: value for name, value in self.values if name not in names}
        return {name: known[name] for name in names} | ({"more": more} if more else {})


def _text(value: Value, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


RunKind: TypeAlias = Literal["train", "prepare", "reference", "measure"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One unit of work. The engine fills it in; a trainer reads it and nothing else.

    kind: "train" at a point; "prepare" what trainings of a role share, such as a teacher; "reference" a model of
    another method; "measure" all models that were kept. key: of the task. role: such as "source"; "" of a measurement.
    arm: of the comparison, or that whose recipe is chosen; "" in search and confirm. method: of a reference; "accuracy"
    of a measurement beside other work, which takes no times. prepared: which repeat of the preparation it belongs to,
    "" the first. keep: whether its model is kept, to be measured and exported.
    """

    kind: RunKind
    key: str
    role: str = ""
    seed: int = 0
    point: Point | None = None
    arm: str = ""
    method: str = ""
    prepared: str = ""
    keep: bool = False


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What came out of a run. It has no field for a test score: that is what `Trainer.test` is for.

    score: on validation, as `Features.score` says; what search and confirm rank by. Of a measurement any number that is
    worth watching. curve: validation after each epoch. size: of the model. artifacts: bytes to keep, by name. facts:
    what the trainer's own report reads, as JSON has it. detail: what was trained, in a few words. numerics: fingerprint
    of the process that trained. capped: a time limit cut it short, so that no seed decides it.
    """

    score: float
    curve: Sequence[float | None] = ()
    train_s: float = 0.0
    cpu_s: float = 0.0
    size: int | None = None
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""
    numerics: str = ""
    capped: bool = False


class Progress(Protocol):
    """Called between two steps of a run; raises where the task shall end. A run without a call for too long is ended.

    A step is a stretch of work after which Python is back: some dozen optimizer steps, one batch of predictions, one
    report of a child process.
    """

    def __call__(self, fraction: float | None = None, text: str = "") -> None:
        """Say that a step was made; with a fraction in [0, 1] and a text how far the run is."""

    def check(self) -> None:
        """Raise where the task shall end. Not a step: for who waits for a child process."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An earlier run of the sweep. facts: as stored. artifacts: the names of what it kept."""

    run: Run
    facts: Mapping[str, Any]
    artifacts: frozenset[str]


class Artifacts(Protocol):
    """What earlier runs of the sweep found and kept."""

    def finished(
        self, kind: RunKind | None = None, *, role: str = "", prepared: str | None = None, method: str = ""
    ) -> Sequence[Finished]:
        """Return the finished runs that match, in the order of the plan."""

    def get(self, run: Run, name: str) -> bytes:
        """Return what it kept under that name. Damaged bytes are made again, by the same run with the same seeds."""

    def once(self, name: str, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return what the first run of the sweep that asked for it has made."""

    def folder(self, run: Run) -> AbstractContextManager[Path]:
        """Give a folder of this machine for one attempt at a run; what is in it, the next one finds here.

        It goes once the run is done. An attempt that another one is at work beside has a new one of its own.
        """


class Trainer(Protocol):
    """A trainer at work in one worker process. May raise kd.errors.Diverged, Unavailable and NotHere."""

    def check(self) -> None:
        """Raise unless data here are those that the spec froze: no attempt is counted for that.

        That code is, the file of the trainer too, the engine has checked before.
        """

    def train(self, run: Run, progress: Progress) -> Trained:
        """Do the run. The same run gives the same score, on any worker, unless `Features.exact` says otherwise."""

    def test(self, run: Run, progress: Progress) -> float:
        """Return the test score of the model that `train` has just made.

        With a run of kind "measure" the only one that may open test data. The engine calls it for tasks of the
        comparison alone, after every selection is frozen.
        """


@dataclass(frozen=True, kw_only=True)
class Features:
    """What plans and reports may speak of.

    score: what is scored. exact: whether the same run gives the same score. one_size: whether all models of a dataset
    have one size. tested: what the comparison is scored on, such as "test images". trained: what a training is of, such
    as "student". prepares: what a preparation is called, such as "teacher"; "": there is none, and no stage `teachers`.
    references: what a model of another method is called; "": none, and no stage `baselines`. measures: whether finished
    models are measured. untreated: the arm that gains are counted from, such as "scratch"; "": there is none. defaults:
    the arms that nobody tuned, first the one that tuning is compared with. symbols: how parameters are written in a
    sentence, by name: "T", "α". axes: the same at the axes of a figure. settings: what stands before them. treatment,
    treating, without, plain, better, untreated_training, untreated_network: what a report calls what the untreated arm
    goes without, its verb, its absence, the advice to go without it, and what is better then; what is trained so, and
    what comes of that.
    """

    score: Score = ACCURACY
    exact: bool = True
    one_size: bool = False
    tested: str = "test data"
    trained: str = "model"
    prepares: str = ""
    references: str = ""
    measures: bool = False
    untreated: str = ""
    defaults: Sequence[str] = ()
    symbols: Mapping[str, str] = field(default_factory=dict)
    axes: Mapping[str, str] = field(default_factory=dict)
    settings: str = "the values of"
    treatment: str = "Tuning"
    treating: str = "tuning"
    without: str = "the default"
    plain: str = "Take the default"
    better: str = "the default"
    untreated_training: str = "the default"
    untreated_network: str = "the default"


class ReportParts:
    """What a trainer adds to the pages; a class that derives from this one says only where it differs.

    figures: `sweeps.report.figures.svg.Drawing`, behind those of every sweep.
    """

    figures: Sequence[Any] = ()

    def methods(self, spec: Any) -> Sequence[str]:
        """Return the first paragraphs of Methods: what was trained, on which data."""
        return ()

    def references(self, spec: Any) -> str:
        """Return the sentence of Methods about models of other methods; "": there are none."""
        return ""

    def banner(self, spec: Any) -> str:
        """Return what a reader has to know before the answer, such as that nothing was tested; "": nothing."""
        return ""

    def display(self, method: str) -> str:
        """Return what another method, or a library, is called in a title."""
        return method

    def budget(self, spec: Any, method: str) -> str:
        """Return within which limits such a model was searched, in a few words; "": there are none."""
        return ""

    def notes(self, spec: Any) -> Sequence[str]:
        """Return what else the reader of the searches has to know, a line each."""
        return ()

    def cost(self, findings: Any, figures: Iterable[Any]) -> Sequence[Any]:
        """Return the blocks of the page about what trainings and models cost."""
        return ()


@dataclass(frozen=True)
class Need:
    """One thing that a worker needs. how: where it looks for it. here: whether this machine has it."""

    what: str
    how: str
    here: bool


@dataclass(frozen=True)
class Check:
    """One line of the doctor. level: ok, warn (a sweep runs without it) or fail."""

    name: str
    level: str
    text: str


class TrainerKind(Protocol):
    """A trainer as the engine knows it without starting it. Importing one imports no learning library.

    spec: its subclass of `sweeps.spec.model.Spec`; what is called `spec` below is one. features: see there. arms: by
    key, in the order of a page. A class that derives from this one says only where it differs.
    """

    spec: type[Any]
    features: Features
    arms: Mapping[str, "Arm"]

    def space(self, spec: Any, *, transfer: bool = False) -> "Space":
        """Return the space of the searches; with transfer one that holds the points of all arms as well."""

    def searched(self, spec: Any) -> Sequence[str]:
        """Return the names of what is searched in the order of a sentence, such as that in which they were written."""
        return tuple(self.space(spec))

    def untreated(self, spec: Any, role: str) -> str:
        """Return the arm that gains are counted from on the dataset of a role; "" if there is none."""
        return self.features.untreated

    def raced(self, spec: Any) -> str:
        """Return the untuned arm whose point every confirm trains beside the tuned ones; "" if there is none.

        It is trained as a tuned point is, so it is an arm that has no settings but its point.
        """
        return next(iter(self.features.defaults), "")

    def prepared(self, spec: Any, role: str) -> str:
        """Return the name of what is prepared for a role, such as a teacher's; "": nothing is."""
        return ""

    def trained(self, spec: Any, role: str, arm: str = "") -> str:
        """Return the name of what is trained on the dataset of a role, such as a student's."""
        return ""

    def references(self, spec: Any, role: str) -> Sequence[str]:
        """Return the methods that are fitted beside the trainings on the dataset of a role."""
        return ()

    def seconds(self, spec: Any, kind: "RunKind", role: str) -> float | None:
        """Return how long such a run is expected to take on one core; None: nobody knows before one has finished."""
        return None

    def curve_length(self, spec: Any, kind: "RunKind", role: str, arm: str, facts: Mapping[str, Any]) -> int | None:
        """Return how many values the curve of such a run has; None: any number. facts: of its outcome."""
        return None

    def own_values(self, arm: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return those values of a point that a training of an arm depends on; arm: "" in search and confirm."""
        return dict(values)

    def settings(self, spec: Any, arm: str) -> Mapping[str, str]:
        """Return what a training of an arm depends on beside its seed and its point.

        Two arms of a dataset that agree in all three are trained once.
        """
        return self.arms[arm].settings

    def detail(self, spec: Any, role: str, arm: str, facts: Mapping[str, Any]) -> str:
        """Return what an arm trains, in a few words; facts: of one of its outcomes, empty before there is one."""
        return self.trained(spec, role, arm)

    def content(self, spec: Any, role: str) -> str:
        """Return the hash of the dataset of a role; "": it is not known."""
        return ""

    def examples(self, spec: Any, role: str) -> int:
        """Return how many examples of the dataset of a role are trained on; 0: it is not known."""
        return 0

    def formula(self, spec: Any) -> str:
        """Return what is minimised; "": that is not worth a line."""
        return ""

    def recipe(self, spec: Any, point: Point) -> str:
        """Return how the sweep trained with a point, beside the point itself."""
        return ""

    def paste(self, spec: Any, point: Point, arm: str = "") -> Mapping[str, str]:
        """Return the point as code, by library. arm: as that arm trains with it, "" as a search does."""
        return {}

    @property
    def presets(self) -> Mapping[str, Any]:
        """Specs to start from, by name."""
        return {}

    def requested(self, request: Any) -> Any:
        """Return the spec that a `sweeps.usecases.create.SpecRequest` makes, its changes aside; raise a SpecError."""
        request.refuse("source", "targets", "dataset", "teacher", "student", "epochs", "size")
        return request.base

    def fetch(self, spec: Any, data: Path | None, say: Callable[[str], None]) -> Any:
        """Fetch the data of a spec and say so; return the spec that can be run with what is here."""
        return spec

    def fetch_missing(self, spec: Any, data: Path | None) -> None:
        """Fetch what is not here, as a worker would without a word."""
        return

    def as_created(self, spec: Any, stored: Mapping[str, Any]) -> Any:
        """Return the spec as `fetch` changed it when the sweep was created whose stored spec this is."""
        return spec

    def freeze(self, spec: Any, data: Path | None) -> Any:
        """Return the spec with its data and names checked, and what depends on this machine filled in.

        Raises:
            SpecError, kd.errors.KdError: it cannot be run; one line.
        """
        return spec

    def try_code(self, spec: Any, data: Path | None) -> None:
        """Call what a new spec names of a user's code once; raise a SpecError where it does not work."""

    def data_lines(self, spec: Any, data: Path | None) -> Sequence[str]:
        """Return what was found in a user's own data."""
        return ()

    def checks(self, data: Path | None) -> Sequence[Check]:
        """Return what the doctor says of this machine."""
        return ()

    def needs(self, spec: Any) -> Sequence["Need"]:
        """Return what workers need beside the storage."""
        return ()

    def files(self, spec: Any) -> Iterable[tuple[str, str, str]]:
        """Yield (key, value, what is allowed) of whatever names a file or data of this machine."""
        return ()

    def has_reference(self, method: str) -> bool:
        """Return whether what a method needs, and lacked, is on this machine by now."""
        return True

    def summary(self, spec: Any) -> Mapping[str, str]:
        """Return what `create` says in a line each, by title, such as "models"."""
        return {}

    def details(self, spec: Any) -> Sequence[str]:
        """Return what `create -v` says beside it."""
        return ()

    def describe(self, spec: Any, role: str) -> str:
        """Return the dataset of a role for a note in the dashboard, with what is trained on it."""
        shown: str = spec.role(role).shown
        return shown

    def seed_sd(self, spec: Any, *, searches: bool) -> tuple[float, float, str] | None:
        """Return the lowest and highest sd between seeds, or searches, of a difference, and where it was measured."""
        return None

    def own_selection(self, role: str, arm: str) -> str:
        """Return the name of what an arm reads beside its point (`Artifacts.once`); "": nothing."""
        return ""

    def selection_problem(self, stored: Any, name: str, value: Mapping[str, Any], specs: Sequence[Any]) -> str:
        """Return why a selection of that name cannot be what was made; "": it can. specs: of all revisions."""
        return ""

    def report(self) -> ReportParts:
        """Return what it adds to the pages."""
        return ReportParts()

    def own_findings(self, stored: Any, provenance: Any) -> Mapping[str, Any]:
        """Return what the trainer's own part of a report reads of a sweep, as JSON has it."""
        return {}

    def code(self, spec: Any) -> Sequence[tuple[str, str]]:
        """Return (dotted key, name) of what may be a user's own code, such as "./model.py:build"."""
        return ()

    def scripts(self, spec: Any) -> Sequence[Path]:
        """Return the files of a user's own code that no name of `code` is of, by absolute path: hashed likewise."""
        return ()

    def open(self, spec: Any, artifacts: Artifacts) -> Trainer:
        """Return the trainer, for one worker process."""


class Steps:
    """The steps of one task: the engine's `Progress`.

    Watched is what trains, in the block of `watched`: a result that waits ten minutes for its database hangs nowhere.
    check raises an exception where the task shall end; on_report takes how far the run is, a fraction in [0, 1], and a
    text.
    """

    def __init__(
        self, check: Callable[[], None] = lambda: None, on_report: Callable[[float, str], None] = lambda *_: None
    ) -> None:
        self._check, self._on_report = check, on_report
        self._made_at = math.inf

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count the seconds without a step while the block runs."""
        self._made_at = time.monotonic()
        try:
            yield
        finally:
            self._made_at = math.inf

    def __call__(self, fraction: float | None = None, text: str = "") -> None:
        """Note a step, and end the task if it shall end."""
        self._made_at = max(self._made_at, time.monotonic())  # inf stays: a report that comes late is no step
        self._check()
        if fraction is not None:
            self._on_report(fraction, text)

    def check(self) -> None:
        """End the task if it shall end."""
        self._check()

    @property
    def idle_s(self) -> float:
        """Seconds since the latest step, or since the training began; 0 while nothing is watched."""
        return max(time.monotonic() - self._made_at, 0.0)
