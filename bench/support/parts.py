"""The parts of a study. Each is a sweep; its trainings are written to a CSV, their origin to a JSON.

A study is a folder of bench/results/studies with declared.md, written before its first training, and NAME.csv and
NAME.json of every finished part. The storage of an unfinished part is in another folder; the same command resumes it.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import platformdirs

from kd.errors import KdError
from storage.errors import StorageError
from storage.url import resolve
from support.page import FOLDER, ROOT, make_parser, table
from sweeps import Sweep
from sweeps.distill.presets import preset
from sweeps.errors import SweepError
from sweeps.findings.load import StoredSweep, provenance, read
from sweeps.plan.identity import answer_hash
from sweeps.plan.jobs import AnyJob, ConfirmTask, SearchTask, StudentOutcome, TeacherOutcome, TeacherTask, TransferTask
from sweeps.query.listing import open_sweep
from sweeps.report.figures.forest import Panel, draw_panels
from sweeps.spec.model import Spec, override, parse
from sweeps.trainers.score import ACCURACY, Score
from sweeps.usecases.create import create_sweep, freeze
from sweeps.workers import environment

STUDIES = FOLDER / "studies"


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training, of a student if it has T and alpha.

    stage: search, confirm or transfer. search: index among those on this dataset. arm: of transfer, otherwise "".
    repeat: of confirm and transfer, otherwise 0. validation, test: accuracies, fractions; test: only of transfer.
    train_s, cpu_s: 0 where another arm did the training.
    more: other parameters of its point, and further results of a custom training; a column each.
    """

    part: str
    stage: str
    dataset: str
    search: int
    arm: str
    repeat: int
    seed: int
    temperature: float | None
    alpha: float | None
    validation: float
    test: float | None
    train_s: float
    cpu_s: float
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def point(self) -> tuple[float, float]:
        assert self.temperature is not None
        assert self.alpha is not None
        return self.temperature, self.alpha


Trainings: TypeAlias = Sequence[Training]
Done: TypeAlias = Mapping[str, Trainings]
"""The trainings of every finished part, by its name."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One sweep or, with `make`, files for later parts.

    changes: computes the result of `spec_of`, or the complete spec of another trainer, from the results of earlier
    parts and the folder of such files. after: names of these parts.
    make: writes the files into that folder; returns facts about them.
    """

    changes: Callable[[Done, Path], Mapping[str, Any]] | None = None
    make: Callable[[Path], Mapping[str, Any]] | None = None
    after: tuple[str, ...] = ()

    def spec(self, done: Done, place: Path) -> Spec:
        assert self.changes is not None
        values = self.changes(done, place)
        return parse(values) if "trainer" in values else override(preset("quick"), values)


TRAINING = {"batch_size": 64, "learning_rate": 4e-3, "schedule": "average", "teacher_learning_rate": 5e-3}


def spec_of(
    roles: Mapping[str, Mapping[str, Any]],
    *,
    seed: int,
    trials: int,
    rounds: Sequence[tuple[int, int]],
    searches: int,
    seeds: int,
    arms: Sequence[str],
    training: Mapping[str, Any] = TRAINING,
    search: Mapping[str, Any] = {},
) -> dict[str, Any]:
    """Return every table of a spec completely, since presets may change and a declared study may not.

    arms: on targets; the source, which no study evaluates, has only `best`. search: further keys of that table.
    """
    return {
        **roles,
        "seed": seed,
        "training": dict(training),
        "search": {"trials": trials, "sampler": "qmc", **search},
        "confirm": {"rounds": [list(pair) for pair in rounds]},
        "outer": {"searches": searches},
        "transfer": {
            "seeds": seeds,
            "margin": 1.0,
            "looks": 3,
            "rule": 2,
            "source_arms": ["best"],
            "target_arms": list(arms),
        },
        "baselines": {"methods": [], "autokeras_epochs": 4},
    }


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study.

    page: its page without the table of parts. within: folder of the page. figure: the panels of its figure, none
    without results. score: the panels show differences of it.
    """

    name: str
    parts: Mapping[str, Part]
    page: Callable[[Done], str]
    within: Path = STUDIES
    figure: Callable[[Done], Sequence[Panel]] = lambda _: ()
    score: Score = ACCURACY

    @property
    def folder(self) -> Path:
        return STUDIES / self.name

    def done(self) -> dict[str, list[Training]]:
        """Return the trainings of every finished part, whose JSON is written last."""
        paths = {name: self.folder / f"{name}.json" for name in self.parts}
        return {name: read_csv(path.with_suffix(".csv")) for name, path in paths.items() if path.exists()}


def read_csv(path: Path) -> list[Training]:
    """Read the trainings of a part; none if it is not a sweep."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [_parsed(row) for row in csv.DictReader(file)]


def _parsed(row: Mapping[str, str]) -> Training:
    kinds = {name: {int: int, float: float, str: str}.get(kind, _maybe) for name, kind in _columns().items()}
    own = {name: kinds[name](text) for name, text in row.items() if name in kinds}
    return Training(**own, more={name: text for name, text in row.items() if name not in kinds and text})


def _maybe(text: str) -> float | None:
    return float(text) if text else None


def write_csv(path: Path, trainings: Trainings) -> None:
    more = dict.fromkeys(name for training in trainings for name in training.more)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*_columns(), *more], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {**{name: getattr(training, name) for name in _columns()}, **training.more} for training in trainings
        )


def _columns() -> Mapping[str, Any]:
    return {column.name: column.type for column in fields(Training) if column.name != "more"}


def trainings(part: str, stored: StoredSweep) -> list[Training]:
    """Return every student of a sweep, in the order of the plan."""
    return [training for job in stored.jobs if (training := _training(part, stored, job)) is not None]


def _training(part: str, stored: StoredSweep, job: AnyJob) -> Training | None:
    work, outcome = job.work, job.outcome
    if not isinstance(work, SearchTask | ConfirmTask | TransferTask) or not isinstance(outcome, StudentOutcome):
        return None
    stage = "search" if isinstance(work, SearchTask) else "confirm" if isinstance(work, ConfirmTask) else "transfer"
    return Training(
        part=part,
        stage=stage,
        dataset=stored.spec.role(work.role).dataset,
        search=work.group.search,
        arm=work.arm if isinstance(work, TransferTask) else "",
        repeat=0 if isinstance(work, SearchTask) else work.repeat,
        seed=work.seed,
        temperature=outcome.temperature,
        alpha=outcome.alpha,
        validation=outcome.val_accuracy,
        test=outcome.test_accuracy,
        train_s=0.0 if outcome.same_as else round(outcome.train_s, 3),
        cpu_s=0.0 if outcome.same_as else round(outcome.cpu_s, 3),
        more={**outcome.more, **outcome.facts},
    )


def origin(stored: StoredSweep) -> dict[str, Any]:
    """Return the origin of a finished sweep: hashes, versions, machines, spec."""
    run, teachers = provenance(stored), stored.finished(TeacherTask, TeacherOutcome)
    students = trainings("", stored)
    return {
        "answer_hash": answer_hash(stored.rows),
        "fingerprint": stored.spec.fingerprint,
        "logits": {job.work.role: job.outcome.blobs.get("logits", "") for job in teachers},
        "teachers": {job.work.role: job.outcome.val_accuracy for job in teachers},
        "wall_s": round(run.wall_s),
        "core_s": round(run.work_s),
        "teachers_cpu_s": round(sum(job.outcome.cpu_s for job in teachers)),
        "students_cpu_s": round(sum(student.cpu_s for student in students)),
        "students": len(students),
        "numerics": list(run.numerics),
        "machines": [asdict(machine) for machine in run.machines],
        "data": [asdict(dataset) | {"origin": ""} for dataset in run.data],
        "spec": without_folders(stored.spec.as_dict()),
    }


def without_folders(value: Any) -> Any:
    """Return plain values without the folders of this machine."""
    if isinstance(value, dict):
        return {key: without_folders(inner) for key, inner in value.items()}
    if isinstance(value, str) and "/" in value:
        prefix, colon, path = value.rpartition(":/")
        return f"{prefix}{colon[:1]}{Path(path if colon else value).name}"
    return value


def commit() -> str:
    """Return the last commit that changed the product, with "-dirty" where its files differ from it."""
    product = ("--", "kd", "storage", "sweeps")
    last = _git("log", "-1", "--format=%H", *product)
    return last + ("-dirty" if _git("status", "--porcelain", *product) else "")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _run(study: Study, name: str, folder: Path, workers: int) -> None:
    """Run or resume a part and write its results."""
    place, part = folder / study.name, study.parts[name]
    if lacks := [other for other in part.after if other not in study.done()]:
        raise SweepError(f"{name} needs {', '.join(lacks)} first: --part {lacks[0]}")
    place.mkdir(parents=True, exist_ok=True)
    starts = _starts(place / f"{name}.starts.json")
    if part.make is not None:
        record = {"answer_hash": "none", "students": 0, "machines": [machine()]} | dict(part.make(place))
    else:
        stored = _finished(study, name, place, workers)
        write_csv(study.folder / f"{name}.csv", trainings(name, stored))
        record = origin(stored)
    text = json.dumps(record | {"starts": starts}, indent=1)
    (study.folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def _finished(study: Study, name: str, place: Path, workers: int) -> StoredSweep:
    part, url, sweep_name = study.parts[name], f"sqlite:///{place / name}.db", f"{study.name}-{name}"
    sweep = create_sweep(resolve(url), sweep_name, part.spec(study.done(), place))
    if not part.after:
        _refuse_undeclared(study, name, sweep.spec.fingerprint)
    Sweep(sweep_name, storage=url).run(workers)
    stored = _read(url, sweep_name)
    if failed := [row.key for row in stored.rows if row.state != "done"]:
        raise SweepError(f"{name}: {len(failed)} tasks have no result, for example {failed[0]}")
    return stored


def _read(url: str, name: str) -> StoredSweep:
    with open_sweep(resolve(url), name) as (engine, record):
        return read(engine, record)


def machine() -> dict[str, Any]:
    """Return processor, threads and versions of this process."""
    values = environment.provenance()
    return {name: values[name] for name in ("cpu", "cores", "threads", "versions")} | {"commit": values["git_commit"]}


def _starts(path: Path) -> list[dict[str, Any]]:
    """Record a start of the part; return all of them."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    now = {"at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "load": round(os.getloadavg()[0], 1), "commit": commit()}
    path.write_text(json.dumps([*before, now]), encoding="utf-8")
    return [*before, now]


def _refuse_undeclared(study: Study, name: str, fingerprint: str) -> None:
    declared = study.folder / "declared.md"
    if not declared.exists() or f"`{fingerprint}`" not in declared.read_text(encoding="utf-8"):
        raise SweepError(
            f"{name} has spec {fingerprint[:12]}, which {declared.name} does not declare; before the first training:"
            " --declare"
        )


def declare(study: Study) -> None:
    """Write the fingerprint of every spec below the text of declared.md."""
    if study.done():
        raise SystemExit(f"{study.name}: it has trainings already, so it is too late to declare it")
    rows = []
    for name, part in study.parts.items():
        if part.changes is None or part.after:
            rows.append([f"`{name}`", f"follows from {', '.join(part.after)}" if part.after else "no sweep"])
            continue
        spec = freeze(part.spec({}, Path()), data_dir=None)
        rows.append([f"`{name}`", f"`{spec.fingerprint}`"])
    path, specs = study.folder / "declared.md", table(["part", "spec"], rows)
    text = path.read_text(encoding="utf-8").partition("| part | spec |")[0].strip()
    path.write_text(f"{text}\n\n{specs}\n", encoding="utf-8")


def write_page(study: Study) -> None:
    done = study.done()
    missing = [name for name in study.parts if name not in done]
    state = f"Missing: {', '.join(missing)}." if missing else "All parts are in."
    text = f"""{study.page(done).strip()}

## Parts

{state} What is asked and the fingerprint of every spec stand in `bench/results/studies/{study.name}/declared.md`,
written before the first training; versions, commits and specs in the JSON beside each CSV.

{table(["part", "students", "core-seconds", "answer hash", "processor", "started, load before it"], _origins(study))}
"""
    (study.within / f"{study.name}.md").write_text(text, encoding="utf-8")
    if panels := study.figure(done):
        (study.within / f"{study.name}.svg").write_text(draw_panels(panels, study.score), encoding="utf-8")


def origins(study: Study) -> dict[str, dict[str, Any]]:
    """Read the JSON of every finished part."""
    paths = {name: study.folder / f"{name}.json" for name in study.parts}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def _origins(study: Study) -> list[list[object]]:
    return [
        [
            f"`{name}`",
            record["students"],
            record["core_s"],
            f"`{record['answer_hash']}`",
            ", ".join(dict.fromkeys(of["cpu"] for of in record["machines"])),
            "; ".join(f"{start['at']}, {start['load']}" for start in record["starts"]),
        ]
        for name, record in origins(study).items()
    ]


def main(study: Study, doc: str, arguments: Sequence[str]) -> int:
    """Run the command line of a study."""
    parser = make_parser(doc, page=False)
    parser.add_argument("--part", action="append", default=[], metavar="NAME", help=", ".join(study.parts))
    default = platformdirs.user_cache_path("kd-sweeps") / "studies"
    parser.add_argument("--storage", type=Path, default=default, metavar="DIR", help="of unfinished parts")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    for name, what in (
        ("list", "the parts"),
        ("declare", "write the fingerprints into declared.md; train nothing"),
        ("page", "write the page"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=what)
    options = parser.parse_args(arguments)
    if unknown := set(options.part) - set(study.parts):
        parser.error(f"--part: got {unknown.pop()!r}; allowed: {', '.join(study.parts)}")
    folder = str(ROOT / "bench")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))  # of workers
    if options.list:
        for name in study.parts:
            print(f"{name}: {'done' if name in study.done() else 'missing'}")
        return 0
    if options.declare:
        declare(study)
        return 0
    try:
        for name in study.parts:
            if name not in study.done() and not options.page and (not options.part or name in options.part):
                _run(study, name, options.storage, options.workers)
                write_page(study)
    except KeyboardInterrupt:
        print(f"{study.name}: interrupted; finished tasks are kept, and the same command resumes", file=sys.stderr)
        return 130
    except (KdError, StorageError, SweepError) as error:
        print(f"{study.name}: {error}", file=sys.stderr)
        return 1
    write_page(study)
    return 0
