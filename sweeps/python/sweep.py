"""`Sweep`, and the same as plain functions.

`import sweeps` and every command import this module, so slow modules are imported where they are used.
"""

import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd.errors import KdError
from storage.errors import StorageError
from sweeps.errors import NoResultsYet, SweepError
from sweeps.extensions import require, trainer_extra
from sweeps.hints import Commands, explain, for_client, local
from sweeps.python import arguments
from sweeps.terminal import program

if TYPE_CHECKING:
    from sweeps.operations.operation import LocalClient, Operation, R
    from sweeps.operations.table import SweepArgs
    from sweeps.query.status import Status
    from sweeps.report.document import Block
    from sweeps.stats.estimates import Estimate
    from sweeps.trainers.protocol import Point
    from sweeps.trainers.score import Score

_WITH_RESULTS, _WITHOUT = 640, 330  # px; the frame can be resized


@contextmanager
def translate_errors(storage: str) -> Iterator[None]:
    """Give expected errors of the block the line that the command line prints, with its commands.

    Args:
        storage: URL without a password for these commands; "": that of the environment.
    """
    with for_client(Commands(program(), storage)), warnings.catch_warnings():
        # Optuna imports tqdm, which warns in every notebook without widgets.
        warnings.filterwarnings("ignore", message="IProgress not found")
        try:
            yield
        except (SweepError, StorageError, KdError) as error:
            error.args = (explain(error),)
            if isinstance(error, StorageError):
                error.next_steps = ()  # included in the line
            raise


@dataclass(frozen=True, kw_only=True)
class BestPoint:
    """The best point of a sweep.

    Attributes:
        point: every searched value by name; `temperature`, > 0, and `alpha`, the weight of the labels in [0, 1], are
            attributes as well, if the sweep has them, and `more` has all others.
        accuracy: on validation, fractions: `mean`, `low` and `high` of its 95 % interval (or None), `n`. For other
            scores the stored value, higher is better.
        confirmed: True if it was trained again on fresh seeds; False for the best, luckiest single run, with n = 1.
        loss: the formula.
        code: Python that trains with it, by library: "kd", "keras", "pytorch".
        untuned: the name of an untuned default, if no tuned point was better on fresh seeds; else "".
        score: the name and format of the score.
    """

    point: "Point"
    accuracy: "Estimate"
    confirmed: bool
    loss: str
    code: Mapping[str, str]
    score: "Score"
    untuned: str = ""

    @property
    def more(self) -> Mapping[str, Any]:
        """The searched values beyond temperature and alpha, by name; empty in most sweeps."""
        return {name: value for name, value in self.point.values if name not in ("temperature", "alpha")}

    def __getattr__(self, name: str) -> Any:
        values = {} if name == "point" else self.point.as_dict()  # copy.copy looks up attributes before point is set
        if name not in values:
            raise AttributeError(f"{name} was not searched; searched: {', '.join(values)}")
        return values[name]

    def __str__(self) -> str:
        """Return a line such as "T = 6.8, alpha = 0.724: validation 97.41 %, n=3"."""
        text = f"{self.point.text(4)}: validation {self.score.text(self.accuracy.mean)}, n={self.accuracy.n}"
        return text + ("" if self.confirmed else ", unconfirmed") + (f", {self.untuned}" if self.untuned else "")

    def _repr_pretty_(self, printer: object, cycle: bool) -> None:
        printer.text(str(self))  # type: ignore[attr-defined]  # IPython's; the code alone would fill a page


@dataclass(frozen=True)
class Verdict:
    """The verdict. word: such as "TRANSFERS"; text: the word and its meaning."""

    word: str
    text: str

    def __str__(self) -> str:
        return self.text


class Svg(str):
    """A figure as SVG text, which a notebook displays."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)

    def __repr__(self) -> str:  # short, for dictionaries of figures
        return f"<SVG, {len(self) / 1000:.0f} kB>"


class Sweep:
    """A sweep in a storage, by name: `Sweep.create` makes one, `Sweep.open` finds one.

    Every attribute is read from the storage at each access, also while workers run. In a notebook the object displays
    as its report. Errors have the one-line text of the command line; their classes are in `sweeps.errors`,
    `storage.errors` and `kd.errors`.
    """

    def __init__(
        self, name: str, *, storage: str | None = None, data_dir: str | os.PathLike[str] | None = None
    ) -> None:
        """Name a sweep without opening it. Arguments as for `create`."""
        with translate_errors(""):
            from storage.url import masked, resolve

            self._name = arguments.sweep_name(name)
            self._url = resolve(arguments.storage_text(storage))
            self._data_dir = arguments.path("data_dir", data_dir)
            self._typed = masked(self._url) if storage else ""

    @classmethod
    def create(
        cls,
        name: str,
        *,
        dataset: arguments.DatasetName | None = None,
        source: arguments.DatasetName | None = None,
        target: arguments.DatasetName | Sequence[arguments.DatasetName] | None = None,
        preset: str | None = None,
        spec: str | os.PathLike[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        student: arguments.Model | None = None,
        teacher: arguments.Model | None = None,
        train: arguments.Model | None = None,
        train_command: str | None = None,
        space: Mapping[str, Any] | None = None,
        trials: int | None = None,
        seed: int | None = None,
        epochs: int | None = None,
        size: tuple[int, int] | None = None,
        storage: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> "Sweep":
        """Create a sweep with all its tasks; return the existing one if it is the same.

        Args:
            name: 1 to 64 letters, digits, '-' and '_'.
            dataset: a single dataset: a name, a folder of images, an .npz file, or code such as "./my_data.py:load".
            source, target: instead, the dataset to tune on and those to transfer to.
            preset: "tiny", "quick" (the default without `spec`), "compare" or "full".
            spec: instead, a TOML file.
            changes: dotted keys of the spec, for example {"search.trials": 20}.
            student, teacher: for every dataset: a name as on the command line, or a function that workers can import.
            train, train_command: instead, your own training: a function, or a command such as
                "python train.py --T {temperature} --out {out}".
            space: the search space of your own training, as in a spec:
                {"temperature": {"low": 1.0, "high": 20.0, "log": True}, "alpha": [0.0, 1.0]}.
            trials, seed: number of trials per search; seed of all random numbers.
            epochs: of every student.
            size: height and width for the images of a folder.
            storage: URL; None takes KD_SWEEPS_STORAGE, OPTUNA_STORAGE or sqlite:///kd-sweeps.db.
            data_dir: folder with mnist.npz and cifar10.npz; None takes KD_SWEEPS_DATA.

        Raises:
            sweeps.errors.SpecError: an argument cannot be used, or the sweep of that name has another spec.
            kd.errors.DataError: a dataset cannot be read.
            storage.errors.StorageError: the storage cannot be written.
        """
        sweep = cls(name, storage=storage, data_dir=data_dir)
        with sweep._translated():
            from sweeps.spec.tables import MOST
            from sweeps.usecases.create import SpecRequest, create_sweep, requested

            request = SpecRequest(
                base=arguments.base(preset, spec),
                changes=arguments.changed(changes),
                source=arguments.text("source", source),
                targets=arguments.texts("target", target),
                dataset=arguments.text("dataset", dataset),
                student=arguments.model("student", student),
                teacher=arguments.model("teacher", teacher),
                train=arguments.model("train", train),
                command=arguments.text("train_command", train_command),
                space=space or {},
                trials=arguments.whole_or_none("trials", trials, least=1, most=MOST, example=20),
                seed=arguments.whole_or_none("seed", seed, least=0, most=2**63 - 1, example=1),
                epochs=arguments.whole_or_none("epochs", epochs, least=1, most=MOST, example=20),
                size=arguments.size(size),
            )
            with arguments.without_script_folder():
                whole = requested(sweep._url, sweep._name, request)
                create_sweep(sweep._url, sweep._name, whole, data_dir=sweep._data_dir)
        return sweep

    @classmethod
    def open(cls, name: str, *, storage: str | None = None, data_dir: str | os.PathLike[str] | None = None) -> "Sweep":
        """Return the sweep of that name. Arguments as for `create`.

        Raises:
            storage.errors.SweepNotFound: no sweep has that name. storage.errors.NotAStorage: there is no storage.
        """
        sweep = cls(name, storage=storage, data_dir=data_dir)
        with sweep._translated(), sweep._client.open(sweep._name):
            return sweep

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def run(self, workers: int | None = None) -> "Sweep":
        """Run the sweep to its end with workers on this machine, show progress, and return the sweep.

        Dead workers are replaced. Ctrl-C and "interrupt kernel" return running tasks to the queue and raise
        KeyboardInterrupt; the next `run` or `kd-sweeps launch` resumes.

        Args:
            workers: number of workers, 1 to 1,000; None is one per core.

        Raises:
            sweeps.errors.SweepError: a stage failed, the sweep is cancelled, or workers died in a row; or this is not
                the main thread, which alone receives Ctrl-C.
            kd.errors.DataError: a dataset is missing and cannot be downloaded.
        """
        with self._translated(), self._working():
            from sweeps.launch.engine import Request
            from sweeps.operations.table import STATUS
            from sweeps.usecases.run import launch

            workers = arguments.whole_or_none("workers", workers, least=1, most=1_000, example=2)
            if threading.current_thread() is not threading.main_thread():
                raise SweepError(
                    f"run() needs the main thread, which receives Ctrl-C; call it there, or type:"
                    f" {local().line('launch', self._name)}"
                )
            code = launch(Request(self._url, self._name), workers=workers, stays=True)
            if code == 1:
                why = "; ".join(self._ask(STATUS).problems)
                raise SweepError(f"{why}; finished tasks are kept. To retry: sweep.retry(), then sweep.run()")
        if code == 128 + signal.SIGTERM:
            signal.raise_signal(signal.SIGTERM)  # for the handler that the launch replaced
        if code:
            raise KeyboardInterrupt(f"{self._name} was stopped; nothing is lost. To resume: sweep.run()")
        return self

    @property
    def status(self) -> "Status":
        """Its progress: `state`, `stages` with counts by state, `workers`, `fraction` (1: finished), `seconds_left`."""
        from sweeps.operations.table import STATUS

        return self._ask(STATUS)

    @property
    def best(self) -> BestPoint:
        """The best point: `temperature`, `alpha`, or `point`. Raises `sweeps.errors.NoResultsYet` before any trial."""
        from sweeps.operations.table import BEST

        best = self._ask(BEST)
        return BestPoint(
            point=best.point,
            accuracy=best.accuracy,
            confirmed=best.confirmed,
            loss=best.loss,
            code=best.paste,
            untuned=best.untuned,
            score=best.score,
        )

    @property
    def verdict(self) -> Verdict:
        """The verdict: `word` and `text`. Raises `sweeps.errors.NoResultsYet` before the first result."""
        with self._translated():
            from sweeps.operations.table import FINDINGS
            from sweeps.report.answer import badge

            text = badge(self._ask(FINDINGS)).text
            return Verdict(re.split("[:,;]", text)[0], text)

    @property
    def headline(self) -> str:
        """The answer with its numbers in two to four sentences. Raises as `verdict`."""
        with self._translated():
            from sweeps.operations.table import FINDINGS
            from sweeps.report.answer import announced

            return announced(self._ask(FINDINGS))

    @property
    def results(self) -> Any:
        """One row per task with the columns of `kd-sweeps trials -f csv`.

        A pandas.DataFrame where pandas is installed, else a list of dictionaries.
        """
        with self._translated():
            from sweeps.operations.table import TRIALS, TrialsArgs
            from sweeps.query.listing import as_columns

            rows = as_columns(self._client.ask(TRIALS, TrialsArgs(name=self._name)))
        try:
            import pandas
        except ImportError:
            return rows
        return pandas.DataFrame(rows)

    @property
    def figures(self) -> dict[str, Svg]:
        """The figures of its report by name: SVG text that a notebook displays. Raises as `verdict`.

        A figure without data is left out. Names: "strategies", "gains", "regret", "surface", "methods", "break-even".
        """
        with self._translated():
            require("report", "figures")
            from sweeps.operations.table import FINDINGS
            from sweeps.report.figures import svg

            return {
                name: Svg(text) for name, text in svg.draw(svg.with_data(self._ask(FINDINGS)), narrow=False).items()
            }

    def report(self, folder: str | os.PathLike[str] | None = None) -> Path:
        """Write the whole report into a folder, NAME-report if none is given; return the path of its report.html.

        Raises:
            sweeps.errors.NoResultsYet: before the first result.
            sweeps.errors.SpecError: the folder cannot be written.
        """
        with self._translated():
            from sweeps.operations.table import FINDINGS
            from sweeps.report.folder import write

            where = arguments.path("report", folder) or Path(f"{self._name}-report")
            return write(self._ask(FINDINGS), where)

    def pause(self) -> int:
        """Start no new tasks; return how many are running and will finish."""
        from sweeps.operations.table import PAUSE

        return self._ask(PAUSE).tasks

    def resume(self) -> int:
        """Resume after `pause` or `cancel`; return how many tasks are left. `run` does them."""
        from sweeps.operations.table import RESUME

        return self._ask(RESUME).tasks

    def cancel(self) -> int:
        """Cancel every unfinished task on all machines; return how many. Finished tasks are kept."""
        from sweeps.operations.table import CANCEL

        return self._ask(CANCEL).tasks

    def extend(self, *, trials: int = 0, seeds: int = 0, searches: int = 0) -> int:
        """Add trials to every search, seeds to every arm, or searches; return how many tasks that adds.

        Once the test images were used, more seeds or searches use the next planned evaluation on them.

        Raises:
            sweeps.errors.SpecError: nothing to add.
            storage.errors.RevisionRefused: a search has ended, no planned evaluation is left, or the sweep is
                cancelled.
        """
        with self._translated():
            from sweeps.operations.table import EXTEND, ExtendArgs
            from sweeps.spec.tables import MOST

            typed = {"trials": trials, "seeds": seeds, "searches": searches}
            counts: dict[str, Any] = {
                key: arguments.whole(key, value, least=0, most=MOST, example=5) for key, value in typed.items()
            }
            return self._client.ask(EXTEND, ExtendArgs(name=self._name, **counts)).tasks

    def retry(self) -> list[str]:
        """Queue failed and skipped tasks again; return their keys. `run` does them."""
        from sweeps.operations.table import RETRY

        return list(self._ask(RETRY).tasks)

    def _ask(self, operation: "Operation[SweepArgs, R]") -> "R":
        from sweeps.operations.table import SweepArgs

        with self._translated():
            return self._client.ask(operation, SweepArgs(name=self._name))

    def __repr__(self) -> str:
        return f"Sweep.open({self._name!r}{f', storage={self._typed!r}' if self._typed else ''})"

    def _repr_html_(self) -> str:
        with self._translated():
            return page_of(self._client, self._name)

    def _translated(self) -> AbstractContextManager[None]:
        return translate_errors(self._typed)

    @property
    def _client(self) -> "LocalClient":
        from sweeps.operations.operation import LocalClient

        return LocalClient(self._url)

    def _working(self) -> AbstractContextManager[None]:
        from sweeps.spec.stored import trainer_of

        with self._client.open(self._name) as (_, sweep):
            pass  # an open connection would block workers that write
        require(trainer_extra(trainer_of(sweep)), "run")
        return arguments.worker_environment(sweep, self._data_dir)


def page_of(client: "LocalClient", name: str) -> str:
    """Return the report page as an HTML element; before the first result, or after an error, what to do next."""
    from sweeps.operations.table import FINDINGS, STATUS, SweepArgs
    from sweeps.report import folder
    from sweeps.report.document import Badge, Code, Heading, Paragraph
    from sweeps.report.html_page import html

    try:
        require("report", "the page")
        try:
            return framed(folder.files(client.ask(FINDINGS, SweepArgs(name=name)))[folder.PAGE], height=_WITH_RESULTS)
        except NoResultsYet:
            from sweeps.plan.plan import make_plan
            from sweeps.spec.model import SMOKE_TEST
            from sweeps.spec.stored import as_it_stands
            from sweeps.usecases.create import describe_plan

            status = client.ask(STATUS, SweepArgs(name=name))
            with client.open(name) as (_, sweep):
                spec = as_it_stands(sweep)
            planned = Code(tuple(describe_plan(spec, make_plan(spec), client.url)))
        is_running = any(worker.alive for worker in status.workers)
        text = "Workers are running; run this cell again later." if is_running else "Nothing has run yet. To start:"
        noted = [Badge(SMOKE_TEST, "open")] if status.smoke_test else []
        todo: list[Block] = [Paragraph(text), *([] if is_running else [Code(("sweep.run()",))])]
        if status.state != "active":
            todo = [Paragraph(f"The sweep is {status.state}. To resume:"), Code(("sweep.resume()", "sweep.run()"))]
        blocks = [Heading(name, level=1), *noted, *todo, planned]
    except (SweepError, StorageError, KdError) as error:
        blocks = [Heading(name, level=1), Paragraph(explain(error))]
    return framed(html(blocks, title=name, figures={}), height=_WITHOUT)


def framed(page: str, *, height: int) -> str:
    """Return a whole HTML page as an element that displays it, with its styles and scripts isolated.

    Args:
        height: initial, in px.
    """
    # In single quotes, since figures are full of double ones, each of which would take six characters.
    inside = page.replace("&", "&amp;").replace("'", "&#39;")
    style = f"width:100%;height:{height}px;border:0;resize:vertical;overflow:auto"
    return f'<iframe sandbox title="the page of a sweep" style="{style}" srcdoc=\'{inside}\'></iframe>'


def create_sweep(
    name: str,
    *,
    preset: str = "quick",
    spec: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    storage: str | None = None,
    data_dir: Path | None = None,
) -> bool:
    """Create a sweep; return True if it is new, False if the same one existed already.

    Args:
        name: 1 to 64 letters, digits, '-' and '_'.
        preset: "tiny", "quick", "compare" or "full"; not used when spec is given.
        spec: a TOML file.
        changes: dotted keys of the spec to change, for example {"search.trials": 100}.
        storage: URL of the storage.
        data_dir: folder with mnist.npz and other files, see `kd.data.sources`.

    Raises:
        sweeps.errors.SpecError: the spec cannot be used, or the sweep of that name has another spec.
        storage.errors.StorageError: the storage cannot be written.
    """
    from storage.url import resolve
    from sweeps.spec.model import override
    from sweeps.spec.stored import read
    from sweeps.usecases import create

    wanted = override(create.preset(preset) if spec is None else read(spec), changes or {})
    return create.create_sweep(resolve(storage), name, wanted, data_dir=data_dir).new


def launch(name: str, *, workers: int | None = None, storage: str | None = None) -> int:
    """Run a sweep to its end with workers on this machine; return the exit code of `kd-sweeps launch`."""
    from storage.url import resolve
    from sweeps.launch.engine import Request
    from sweeps.usecases.run import launch as start

    return start(Request(resolve(storage), name), workers=workers)


def best(name: str, *, storage: str | None = None) -> dict[str, Any]:
    """Return the best point of a sweep as plain values, those of `kd-sweeps best -f json`."""
    from storage.url import resolve
    from sweeps.operations.operation import LocalClient, plain
    from sweeps.operations.table import BEST, SweepArgs

    values: dict[str, Any] = plain(BEST.kind, LocalClient(resolve(storage)).ask(BEST, SweepArgs(name=name)))
    return values


def report(name: str, *, storage: str | None = None) -> str:
    """Return the verdict and the comparison of a sweep as Markdown."""
    from sweeps.findings.findings import load
    from sweeps.query.listing import open_sweep
    from sweeps.report.page import report as write

    with open_sweep(storage, name) as (engine, sweep):
        return write(load(engine, sweep))
