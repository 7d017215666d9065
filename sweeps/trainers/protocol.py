"""Define the interface of a trainer; the engine never learns what is trained."""

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
from sweeps.trainers.score import Score as Score  # so that a user's trainer imports only this file

if TYPE_CHECKING:
    from storage.studies.space import Space
    from sweeps.trainers.arms import Arm

Number: TypeAlias = int | float
Value: TypeAlias = int | float | str | bool

# Stored records keep these two of a distillation, a temperature > 0 and a share, next to the table of the others, as
# they did before there were others.
_APART: Mapping[str, Callable[[Value], bool]] = {
    "temperature": lambda value: isinstance(value, float) and value > 0,
    "alpha": lambda value: isinstance(value, float) and 0 <= value <= 1,
}
_LABELS = {"temperature": "T"}


def label(name: str) -> str:
    """Return the ASCII label of a parameter in tables and sentences: "T"."""
    return _LABELS.get(name, name)


@dataclass(frozen=True)
class Point:
    """A point of the search space: named values in the order of the space, whose users check their ranges."""

    values: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, values: Mapping[str, Value]) -> "Point":
        """Return the point with these values."""
        first = [(name, values[name]) for name in _APART if name in values]
        return cls((*first, *sorted((name, value) for name, value in values.items() if name not in _APART)))

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Point":
        """Return the point in stored values, as `as_json` wrote it among others.

        Raises:
            KeyError: the stored values have no point, or half of one.
            TypeError, ValueError: a value of the point is invalid.
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
        """Make it one flat table of its values in an answer."""
        table = core_schema.no_info_after_validator_function(cls.of, handler.generate_schema(dict[str, Value]))
        return core_schema.json_or_python_schema(
            json_schema=table,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), table]),
            serialization=core_schema.plain_serializer_function_ser_schema(cls.as_dict),
        )

    @classmethod
    def at(cls, space: "Space", unit: Sequence[float]) -> "Point":
        """Return the point at these fractions of the ranges, each in [0, 1), in the order of the space."""
        return cls.of({name: bounds.at(part) for (name, bounds), part in zip(space.items(), unit, strict=True)})

    def __getitem__(self, name: str) -> Any:
        """Return a value by name; raise a KeyError for an unknown one."""
        return self.as_dict()[name]

    def as_dict(self) -> dict[str, Value]:
        """Return its values by name, as a trial of Optuna has them."""
        return dict(self.values)

    def text(self, digits: int = 3) -> str:
        """Return it as text: "T = 6.8, alpha = 0.724, learning_rate = 0.004"."""
        return ", ".join(f"{label(name)} = {_text(value, digits)}" for name, value in self.values)

    def brief(self, symbols: Mapping[str, str], *, most: int | None = None) -> str:
        """Return it, or its first values, as a short caption: "T 4.89, α 0.22"."""
        digits = (3, *(2 for _ in self.values))  # the first value has the wider range
        values = zip(self.values[:most], digits, strict=False)
        return ", ".join(f"{symbols.get(name, name)} {_text(value, count)}" for (name, value), count in values)

    def numbers(self, names: Iterable[str]) -> str:
        """Return its values without names, for a cell of a table: "6.8, 0.724, 0.004"; "-" for a missing one."""
        known = self.as_dict()
        return ", ".join(_text(known[name], 3) if name in known else "-" for name in names)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values for a stored record."""
        known = self.as_dict()
        # One of the two without the other is an ordinary parameter; so are two with other ranges.
        names = _APART if all(name in known and bounds(known[name]) for name, bounds in _APART.items()) else ()
        more = {name: value for name, value in self.values if name not in names}
        return {name: known[name] for name in names} | ({"more": more} if more else {})


def _text(value: Value, digits: int) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


RunKind: TypeAlias = Literal["train", "prepare", "reference", "measure"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """One unit of work, all that a trainer gets from the engine.

    kind: "train" at a point; "prepare" what the trainings of a role share, such as a teacher; "reference", a model of
    another method; "measure" all kept models. key: of the task. role: such as "source"; "" for a measurement. arm: of
    the comparison, or the one whose recipe is chosen; "" in search and confirm. method: of a reference; "accuracy" for
    a measurement without times, while other work runs. prepared: the repeat of the preparation that it uses; "" for the
    first. keep: whether to keep its model, for measurement and export.
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
    """The outcome of a run, without a test score, which only `Trainer.test` returns.

    score: on validation, as `Features.score` says; search and confirm rank by it. Of a measurement, any number for the
    dashboard. curve: validation after each epoch. size: of the model. artifacts: bytes to keep, by name. facts: JSON
    values for the trainer's own report. detail: a short description of the training. numerics: fingerprint of the
    process. capped: whether a time limit ended it, so that the seed does not determine it.
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
    """Called between two steps of a run; raises to end the task. A run that makes no call for too long is ended.

    A step is work between two returns to Python: a few dozen optimizer steps, one batch of predictions, one report of a
    child process.
    """

    def __call__(self, fraction: float | None = None, text: str = "") -> None:
        """Report a step, and how far the run is, as a fraction in [0, 1] and a text."""

    def check(self) -> None:
        """Raise to end the task, without reporting a step: for waiting on a child process."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """An earlier run of the sweep. facts: as stored. artifacts: names of its artifacts."""

    run: Run
    facts: Mapping[str, Any]
    artifacts: frozenset[str]


class Artifacts(Protocol):
    """The results and artifacts of earlier runs of the sweep."""

    def finished(
        self, kind: RunKind | None = None, *, role: str = "", prepared: str | None = None, method: str = ""
    ) -> Sequence[Finished]:
        """Return the matching finished runs, in the order of the plan."""

    def get(self, run: Run, name: str) -> bytes:
        """Return an artifact of a run. If its bytes are damaged, the same run with the same seeds makes it again."""

    def once(self, name: str, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the value that `make` returned to the first run of the sweep that asked for this name."""

    def folder(self, run: Run) -> AbstractContextManager[Path]:
        """Open a folder of this machine for one attempt at a run; the next attempt finds its files.

        It is removed once the run is done. An attempt that runs at the same time gets another, empty one.
        """


class Trainer(Protocol):
    """A trainer in one worker process. Its methods may raise kd.errors.Diverged, Unavailable and NotHere."""

    def check(self) -> None:
        """Raise if data here differ from the spec's; that counts as no attempt.

        The engine has compared code, and the file of the trainer, before.
        """

    def train(self, run: Run, progress: Progress) -> Trained:
        """Do the run. The same run gives the same score on any worker, unless `Features.exact` is False."""

    def test(self, run: Run, progress: Progress) -> float:
        """Return the test score of the model that `train` has just made.

        Only this method, and a run of kind "measure", may open test data. The engine calls it for tasks of the
        comparison only, after every selection is frozen.
        """


@dataclass(frozen=True, kw_only=True)
class Features:
    """The features and the vocabulary of a trainer, for plans and reports.

    score: of a training. exact: whether the same run gives the same score. one_size: whether all models of a dataset
    have one size. tested: the data that the comparison scores, such as "test images". trained: the noun for a model,
    such as "student". prepares: the noun for a preparation, such as "teacher"; "" for none, and no stage `teachers`.
    references: the noun for a model of another method; "" for none, and no stage `baselines`. measures: whether
    finished models are measured. untreated: the arm that gains are measured from, such as "scratch"; "" for none.
    defaults: the untuned arms, first the one that tuning is compared with. symbols: of parameters in a sentence, by
    name: "T", "α". axes: labels of parameters at the axes of a figure. settings: the words before the symbols.

    The rest are words for what the untreated arm lacks: treatment (noun), treating (gerund), without (its absence),
    plain (the advice to leave it out), better (what is better then), untreated_training, untreated_network.
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
    """A trainer's additions to the pages; a subclass overrides what it adds.

    figures: `sweeps.report.figures.svg.Drawing`, after those of every sweep.
    """

    figures: Sequence[Any] = ()

    def methods(self, spec: Any) -> Sequence[str]:
        """Return the first paragraphs of Methods, about training and data."""
        return ()

    def references(self, spec: Any) -> str:
        """Return the sentence of Methods about models of other methods, or ""."""
        return ""

    def banner(self, spec: Any) -> str:
        """Return a warning to show before the answer, such as that it is no evidence, or ""."""
        return ""

    def display(self, method: str) -> str:
        """Return the name of another method, or of a library, for a title."""
        return method

    def budget(self, spec: Any, method: str) -> str:
        """Return the limits of the search for a reference model as a short text, or ""."""
        return ""

    def notes(self, spec: Any) -> Sequence[str]:
        """Return notes for the reader of the searches, a line each."""
        return ()

    def cost(self, findings: Any, figures: Iterable[Any]) -> Sequence[Any]:
        """Return the blocks of the page about the cost of trainings and models."""
        return ()


@dataclass(frozen=True)
class Need:
    """A requirement of a worker. how: where it looks for it. here: whether this machine has it."""

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
    """A trainer as the engine sees it; importing one must not import a learning library.

    spec: its subclass of `sweeps.spec.model.Spec`, of which every `spec` below is an instance. features: see there.
    arms: by key, in the order of a page. A subclass overrides what differs.
    """

    spec: type[Any]
    features: Features
    arms: Mapping[str, "Arm"]

    def space(self, spec: Any, *, transfer: bool = False) -> "Space":
        """Return the space of the searches; with transfer, a space that also contains the points of all arms."""

    def searched(self, spec: Any) -> Sequence[str]:
        """Return the names of the searched parameters, in the order for a sentence."""
        return tuple(self.space(spec))

    def untreated(self, spec: Any, role: str) -> str:
        """Return the arm that gains on the dataset of a role are measured from, or ""."""
        return self.features.untreated

    def raced(self, spec: Any) -> str:
        """Return the untuned arm whose point every confirm trains with the tuned ones, or "".

        It is trained like a tuned point, so the arm must not have settings besides its point.
        """
        return next(iter(self.features.defaults), "")

    def prepared(self, spec: Any, role: str) -> str:
        """Return the name of the preparation of a role, such as its teacher, or ""."""
        return ""

    def trained(self, spec: Any, role: str, arm: str = "") -> str:
        """Return the name of the trained model on the dataset of a role, such as a student."""
        return ""

    def references(self, spec: Any, role: str) -> Sequence[str]:
        """Return the reference methods on the dataset of a role."""
        return ()

    def seconds(self, spec: Any, kind: "RunKind", role: str) -> float | None:
        """Return the expected seconds of a run on one core; None if unknown before one has finished."""
        return None

    def curve_length(self, spec: Any, kind: "RunKind", role: str, arm: str, facts: Mapping[str, Any]) -> int | None:
        """Return the number of values in the curve of a run; None: any number. facts: of its outcome."""
        return None

    def own_values(self, arm: str, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a point that a training of an arm depends on; arm: "" in search and confirm."""
        return dict(values)

    def settings(self, spec: Any, arm: str) -> Mapping[str, str]:
        """Return the settings of a training of an arm besides its seed and its point.

        Two arms of a dataset that agree in all three are trained once.
        """
        return self.arms[arm].settings

    def detail(self, spec: Any, role: str, arm: str, facts: Mapping[str, Any]) -> str:
        """Return a short description of an arm's training; facts: of one of its outcomes, or empty."""
        return self.trained(spec, role, arm)

    def content(self, spec: Any, role: str) -> str:
        """Return the hash of the dataset of a role; "" if unknown."""
        return ""

    def examples(self, spec: Any, role: str) -> int:
        """Return the number of training examples of a role; 0 if unknown."""
        return 0

    def formula(self, spec: Any) -> str:
        """Return the minimised loss; "" to leave it out."""
        return ""

    def recipe(self, spec: Any, point: Point) -> str:
        """Return the settings of a training at a point, besides the point itself."""
        return ""

    def paste(self, spec: Any, point: Point, arm: str = "") -> Mapping[str, str]:
        """Return the point as code, by library, as an arm trains with it; arm: "" for a search."""
        return {}

    @property
    def presets(self) -> Mapping[str, Any]:
        """Specs to start from, by name."""
        return {}

    def requested(self, request: Any) -> Any:
        """Return the spec for a `sweeps.usecases.create.SpecRequest`, without its changes; raise a SpecError."""
        request.refuse("source", "targets", "dataset", "teacher", "student", "epochs", "size")
        return request.base

    def fetch(self, spec: Any, data: Path | None, say: Callable[[str], None]) -> Any:
        """Fetch the data of a spec and report it; return the spec, changed if some data cannot be fetched."""
        return spec

    def fetch_missing(self, spec: Any, data: Path | None) -> None:
        """Fetch missing data, with a progress bar; a worker would do it silently."""
        return

    def as_created(self, spec: Any, stored: Mapping[str, Any]) -> Any:
        """Return the spec as `fetch` changed it when the sweep with this stored spec was created."""
        return spec

    def freeze(self, spec: Any, data: Path | None) -> Any:
        """Return the spec with checked data and names, and with the values that depend on this machine.

        Raises:
            SpecError, kd.errors.KdError: it cannot be run; one line.
        """
        return spec

    def try_code(self, spec: Any, data: Path | None) -> None:
        """Call the user's code in a new spec once; raise a SpecError if it does not work."""

    def data_lines(self, spec: Any, data: Path | None) -> Sequence[str]:
        """Return the description of a user's data."""
        return ()

    def checks(self, data: Path | None) -> Sequence[Check]:
        """Return the doctor's checks of this machine."""
        return ()

    def needs(self, spec: Any) -> Sequence["Need"]:
        """Return the requirements of workers besides the storage."""
        return ()

    def files(self, spec: Any) -> Iterable[tuple[str, str, str]]:
        """Yield (key, value, what is allowed) for each key that names a file or data of this machine."""
        return ()

    def has_reference(self, method: str) -> bool:
        """Return whether this machine now has the files that a reference method lacked."""
        return True

    def summary(self, spec: Any) -> Mapping[str, str]:
        """Return the lines that `create` prints, by title, such as "models"."""
        return {}

    def details(self, spec: Any) -> Sequence[str]:
        """Return the additional lines of `create -v`."""
        return ()

    def describe(self, spec: Any, role: str) -> str:
        """Return the dataset of a role, and its models, for a note in the dashboard."""
        name: str = spec.role(role).shown
        return name

    def seed_sd(self, spec: Any, *, searches: bool) -> tuple[float, float, str] | None:
        """Return the lowest and highest sd between seeds, or searches, of a difference, and the source of both."""
        return None

    def own_selection(self, role: str, arm: str) -> str:
        """Return the name of the selection that an arm reads besides its point (`Artifacts.once`), or ""."""
        return ""

    def selection_problem(self, stored: Any, name: str, value: Mapping[str, Any], specs: Sequence[Any]) -> str:
        """Return why a stored selection is inconsistent, or "". specs: of all revisions."""
        return ""

    def report(self) -> ReportParts:
        """Return its additions to the pages."""
        return ReportParts()

    def own_findings(self, stored: Any, provenance: Any) -> Mapping[str, Any]:
        """Return the JSON values that its own part of a report reads."""
        return {}

    def code(self, spec: Any) -> Sequence[tuple[str, str]]:
        """Return (dotted key, name) of everything that may be a user's code, such as "./model.py:build"."""
        return ()

    def scripts(self, spec: Any) -> Sequence[Path]:
        """Return further files of a user's code, by absolute path, to hash like those of `code`."""
        return ()

    def open(self, spec: Any, artifacts: Artifacts) -> Trainer:
        """Return the trainer, for one worker process."""


class Steps:
    """The steps of one task: the engine's `Progress`.

    Only the training is watched, in the block of `watched`: waiting ten minutes for a database is no hanging. check:
    raises to end the task. on_report: gets how far the run is, a fraction in [0, 1], and a text.
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
        """Record a step, and raise to end the task."""
        self._made_at = max(self._made_at, time.monotonic())  # inf stays: a late report is not a step
        self._check()
        if fraction is not None:
            self._on_report(fraction, text)

    def check(self) -> None:
        """Raise to end the task."""
        self._check()

    @property
    def idle_s(self) -> float:
        """Seconds since the latest step, or since the training began; 0 while not training."""
        return max(time.monotonic() - self._made_at, 0.0)
