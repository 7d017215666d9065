"""Record a surface: train one student for every (temperature, alpha) of a grid and every seed, and keep each epoch.

    python bench/surface.py [--role source|target] [--dataset NAME|FILE.npz] [--seeds N] [--epochs N]

Teacher and students are trained as the preset does, and the students are scored after every epoch. Ctrl-C keeps what
is finished, and the same command goes on. Writes bench/results/surface-DATASET.csv; see bench/support/surfaces.py.
"""

import argparse
import contextlib
import math
import os
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kd.config import TrainingConfig
from kd.data.datasets import Dataset, load, training_images
from kd.errors import KdError
from kd.subprocesses import run_in_subprocess
from support.recording import Recording, Training
from support.surfaces import FOLDER, Point, SurfaceError, write_surface
from support.training_pool import Setting, teach, train_points
from sweeps.errors import SweepError
from sweeps.plan.seeds import derive
from sweeps.spec.model import Spec
from sweeps.spec.presets import PRESETS, preset
from sweeps.spec.tables import DatasetSpec
from sweeps.workers.environment import one_thread, provenance

SAID = 20  # how often progress is told where no bar can be drawn


def record(options: argparse.Namespace, console: Console) -> Path:
    """The file with the surface, after training whatever of it is still missing."""
    one_thread()  # inherited by every child, and none of them has TensorFlow yet
    spec = preset(options.preset)
    role = spec.role(options.role)
    name = options.dataset or role.dataset
    out = options.out or FOLDER / f"surface-{Path(name).stem}.csv"
    if out.exists():
        raise SurfaceError(f"{out} is recorded already; to record it again, remove it first: rm {out}")
    dataset = load(name, train_images=min(role.images, training_images(name)))
    training = TrainingConfig(
        epochs=options.epochs or role.epochs,
        batch_size=spec.training.batch_size,
        learning_rate=spec.training.learning_rate,
        schedule=spec.training.schedule,
        average_steps=spec.training.average_steps,
    )
    points = grid(spec, temperatures=options.temperatures, alphas=options.alphas, seeds=options.seeds)
    plan = _plan(f"{options.role} of preset {options.preset}", role, dataset, training, points)
    recording = Recording(out.with_suffix(".part"), plan)
    log = recording.folder / "log"
    logits, teacher_accuracy = recording.teacher_logits(lambda: _teach(spec, options.role, dataset, log, console))
    setting = Setting(spec.seed, dataset, role.student, logits, training, log)
    _train_missing(recording, setting, points, options.processes, console)
    rows = {point: recording.trainings[point].scores for point in points}
    write_surface(out, _header(plan, recording, teacher_accuracy, options.processes), rows)
    recording.remove()
    return out


def grid(spec: Spec, *, temperatures: int, alphas: int, seeds: int) -> list[Point]:
    """Every point to train: temperatures even on the logarithm, alphas even, both over the range of the search.

    Seeds outside, so that an interrupted recording has whole grids. Rounded here: what is written is what was trained.
    """
    (t_low, t_high), (a_low, a_high) = spec.search.temperature, spec.search.alpha
    return [
        (float(f"{temperature:.5g}"), float(f"{alpha:.5g}"), seed)
        for seed in range(seeds)
        for temperature in np.geomspace(t_low, t_high, temperatures)
        for alpha in np.linspace(a_low, a_high, alphas)
    ]


def _plan(
    setting: str, role: DatasetSpec, dataset: Dataset, training: TrainingConfig, points: list[Point]
) -> dict[str, object]:
    """Everything that the scores depend on, but for the versions and the machine."""
    return {
        "dataset": Path(dataset.name).name,
        "split": f"sha256 {dataset.split_hash}",
        "setting": f"{setting}, {len(dataset.train)} training images",
        "teacher": f"{role.teacher}, {role.teacher_epochs} epochs",
        "student": f"{role.student}, {training.epochs} epochs, batch {training.batch_size},"
        f" Adam {training.learning_rate:g}, {training.schedule}"
        + (f" over {training.average_steps} steps" if training.schedule == "average" else ""),
        "temperatures": sorted({temperature for temperature, _, _ in points}),
        "alphas": sorted({alpha for _, alpha, _ in points}),
        "seeds": len({seed for _, _, seed in points}),
    }


def _teach(
    spec: Spec, role: str, dataset: Dataset, log: Path, console: Console
) -> tuple[npt.NDArray[np.float32], float]:
    part = spec.role(role)
    training = TrainingConfig(
        epochs=part.teacher_epochs,
        batch_size=spec.training.batch_size,
        learning_rate=spec.training.teacher_learning_rate,
    )
    seed = derive(spec.seed, "teacher", role)
    console.print(f"{dataset.name}: the teacher, {part.teacher}, trains first", highlight=False)
    taught = run_in_subprocess(teach, log, dataset, part.teacher, training, seed, on_step=lambda: None)
    return taught.logits, taught.result.val_accuracy


def _train_missing(
    recording: Recording, setting: Setting, points: list[Point], processes: int, console: Console
) -> None:
    """Trains what is not recorded yet and keeps each training as it ends."""
    began, session = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    missing = [point for point in points if point not in recording.trainings]
    done, total = len(points) - len(missing), len(points)
    console.print(f"{done} of {total} trainings are recorded", highlight=False)
    if not missing:
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    bars = Progress(TextColumn("trainings"), *columns, console=console, disable=not console.is_terminal)
    results = train_points(setting, missing, processes=min(processes, len(missing)))
    with bars, contextlib.closing(results):
        bar = bars.add_task("", total=total, completed=done)
        for (temperature, alpha, seed), result in results:
            recording.append(
                Training(
                    temperature=temperature,
                    alpha=alpha,
                    seed=seed,
                    scores=result.epoch_val_accuracy,
                    train_s=result.train_s,
                    session=session,
                    elapsed_s=time.monotonic() - began,
                )
            )
            bars.advance(bar)
            done += 1
            if not console.is_terminal and done % math.ceil(total / SAID) == 0:
                console.print(f"{done} of {total} trainings are recorded", highlight=False)


def _header(
    plan: dict[str, object], recording: Recording, teacher_accuracy: float, processes: int
) -> dict[str, object]:
    found: Any = provenance()
    trainings = recording.trainings.values()
    seconds = sum(training.train_s for training in trainings) / len(trainings)
    return {
        "what": "validation accuracy per epoch over (temperature, alpha, seed); alpha weighs the labels",
        **{key: plan[key] for key in ("dataset", "split", "setting", "student")},
        "teacher": f"{plan['teacher']}, validation {teacher_accuracy:.4f}",
        "self-test": _self_test(recording),
        "recorded": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, students {recording.wall_s:.0f} s with {processes}"
        f" processes of one thread, {seconds:.1f} s each",
        "commit": found["git_commit"],
        "machine": f"{found['cpu']}, {found['cores']} cores, {found['platform']}",
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
    }


def _self_test(recording: Recording) -> str:
    """With alpha = 1 the teacher has no say, so the temperature must not matter: not even in the last bit."""
    curves: dict[int, set[tuple[float, ...]]] = {}
    for training in recording.trainings.values():
        if training.alpha == 1:
            curves.setdefault(training.seed, set()).add(tuple(training.scores))
    if not curves:
        return "alpha = 1 is not in the grid"
    same = all(len(of_a_seed) == 1 for of_a_seed in curves.values())
    return f"alpha = 1 gives the same accuracies at every temperature: {'yes' if same else 'NO'}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=("source", "target"), default="source")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="quick")
    parser.add_argument("--dataset", metavar="NAME", help="another dataset in that role, such as FILE.npz")
    for name, default in {"temperatures": 8, "alphas": 8, "seeds": 12, "epochs": None}.items():
        parser.add_argument(f"--{name}", type=_at_least(2), default=default, metavar="N")
    parser.add_argument("--processes", type=_at_least(1), default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: bench/results/surface-DATASET.csv")
    return parser.parse_args()


def _at_least(low: int) -> Any:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise argparse.ArgumentTypeError(f"got {text!r}, allowed is a whole number >= {low}")
        return int(text)

    return parse


def main() -> int:
    """Record, and say where; 0 done, 1 a reason in one line, 130 interrupted."""
    options, console = _options(), Console(stderr=True, soft_wrap=True)
    try:
        print(record(options, console))
    except (SurfaceError, KdError, SweepError) as error:
        print(f"surface.py: {error}", file=sys.stderr)
        return 1
    except BrokenProcessPool:
        print(
            "surface.py: a training process died, most often because memory ran out; what is finished is kept, the"
            " same command goes on, with less memory as: --processes 1",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("surface.py: interrupted; what is finished is kept, the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
