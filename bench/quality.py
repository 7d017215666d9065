"""How good are the students? Test accuracy on fresh seeds, taught and not, beside what others have published.

    python bench/quality.py [--part mnist|mlp|resnet8] [--seeds N] [--images N] [--epochs N...] [--teacher NAME]

`scratch` learns from the labels alone, `best` also from a teacher, at the (T, alpha) that preset quick selects on MNIST
or at those given; a seed gives both the same initial weights and order of images. The test images are read once for
each student, when its training is over. Writes a section for each part into bench/results/quality.md and every training
into bench/results/quality.csv: Ctrl-C keeps what is finished, and the same command goes on.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from kd.config import MODEL_NAMES, DistillConfig, TrainingConfig
from kd.data.datasets import Dataset, load, load_test
from kd.errors import KdError
from support.page import FOLDER, Origin, table, write_section
from support.quality_parts import (
    ARMS,
    BATCH,
    PARTS,
    STUDENT_RATE,
    TEACHER_RATE,
    Part,
    Result,
    Rows,
    Training,
    read_rows,
    write_rows,
)
from support.recording import Recording
from support.surfaces import SurfaceError
from sweeps.plan.seeds import derive
from sweeps.stats.estimates import Estimate, estimate, paired
from sweeps.workers.environment import one_thread, provenance

BEST = (6.795, 0.7239)  # what preset quick selects on MNIST, see the README
SEED = 20_260_503  # no sweep's: no student here was ever chosen by its luck


def run(part: Part, best: tuple[float, float], seeds: int, *, records: Path, page: Path) -> None:
    """Trains what is not recorded yet, writes the section and prints it."""
    origin, rows = Origin(), read_rows(records)
    wanted = part.trainings(best, seeds)
    missing = [training for training in wanted if training not in rows]
    if missing:
        for done, (training, result) in enumerate(train(part, missing, records), len(wanted) - len(missing) + 1):
            rows = read_rows(records) | {training: result}  # read anew: another part may be in training beside
            write_rows(records, rows)
            print(f"{part.name}: {done} of {len(wanted)} trainings are recorded", file=sys.stderr)
    found = {training: rows[training] for training in wanted}
    text = section(part, best, found, f"{origin}\n{len(missing)} of {len(wanted)} trainings are of this run.\n")
    write_section(f"Quality: {part.name}", text, path=page)
    print(text, end="\n\n")


def train(part: Part, missing: Sequence[Training], records: Path) -> Iterator[tuple[Training, Result]]:
    """Each of these trainings as it ends. The teacher of an interrupted run is kept beside the records."""
    from kd.training.trainer import StudentTrainer  # TensorFlow: only now, when its number of threads is set

    dataset = load(part.dataset, train_images=part.images)
    recording = Recording(records.with_name(f"{records.stem}-{part.name}.part"), {"part": str(part)})
    logits, teacher_val_accuracy = recording.teacher_logits(lambda: _teach(part, dataset))
    training = TrainingConfig(epochs=max(part.epochs), batch_size=BATCH, learning_rate=STUDENT_RATE)
    trainer = StudentTrainer(dataset, student=part.student, teacher_logits=logits, training=training, views=part.views)
    for one in missing:
        point = DistillConfig(temperature=one.temperature, alpha=one.alpha)
        result = trainer.train(point, seed=derive(SEED, "student", part.name, one.seed), epochs=one.epochs)
        yield (
            one,
            Result(
                test_accuracy=trainer.accuracy(_test(part.dataset)),
                val_accuracy=result.val_accuracy,
                teacher_val_accuracy=teacher_val_accuracy,
                cpu_s=round(result.cpu_s, 2),
                commit=str(provenance()["git_commit"]),
            ),
        )
    recording.remove()


def section(part: Part, best: tuple[float, float], rows: Rows, origin: str) -> str:
    """What a part found, as Markdown; `rows` are all its trainings."""
    lines = []
    for epochs in part.epochs:
        of_these = {training: result for training, result in rows.items() if training.epochs == epochs}
        scratch, taught = (
            {one.seed: result.test_accuracy for one, result in of_these.items() if one.arm == arm} for arm in ARMS
        )
        found = (estimate(list(scratch.values())), estimate(list(taught.values())), paired(taught, scratch))
        cpu_s = fmean(result.cpu_s for result in of_these.values())
        lines.append([epochs, *map(percent, found), f"{cpu_s:.1f}", len(scratch)])
    heads = [
        "epochs",
        "scratch",
        f"best (T={best[0]:g}, alpha={best[1]:g})",
        "best - scratch, paired",
        "CPU s each",
        "n",
    ]
    teachers = sorted({f"{100 * result.teacher_val_accuracy:.2f} %" for result in rows.values()})  # one, on one machine
    return f"""{origin}
{part}
On the validation images the teacher reaches {" and ".join(teachers)}.

Test accuracy in percent, mean [95 % t interval] over n fresh seeds of the student, one thread. There is one teacher, so
its own luck is in no interval.

{table(heads, lines)}

{part.anchor}"""


def percent(value: Estimate | None) -> str:
    """A mean fraction and its interval, in percent."""
    assert value is not None
    if value.low is None or value.high is None:
        return f"{100 * value.mean:.2f}"
    return f"{100 * value.mean:.2f} [{100 * value.low:.2f}, {100 * value.high:.2f}]"


def _teach(part: Part, dataset: Dataset) -> tuple[Any, float]:
    from kd.teachers.trained import train_teacher

    training = TrainingConfig(epochs=part.teacher_epochs, batch_size=BATCH, learning_rate=TEACHER_RATE)
    seed = derive(SEED, "teacher", part.name)
    taught = train_teacher(dataset, model=part.teacher, training=training, seed=seed, views=part.views)
    return taught.logits, taught.result.val_accuracy


_test = lru_cache(load_test)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=[part.name for part in PARTS], help="default: one after another")
    parser.add_argument("--seeds", type=_count, default=5, metavar="N", help="of each arm (default: 5)")
    parser.add_argument("--temperature", type=float, default=BEST[0], metavar="T", help=f"of best (default: {BEST[0]})")
    parser.add_argument("--alpha", type=float, default=BEST[1], metavar="A", help=f"of best (default: {BEST[1]})")
    other = parser.add_argument_group("in place of what the part has")
    other.add_argument("--images", type=_count, metavar="N", help="training images")
    other.add_argument("--epochs", type=_count, nargs="+", metavar="N", help="of the students")
    other.add_argument("--teacher", choices=MODEL_NAMES, metavar="NAME", help=", ".join(MODEL_NAMES))
    other.add_argument("--teacher-epochs", type=_count, metavar="N")
    parser.add_argument("--records", type=Path, default=FOLDER / "quality.csv", metavar="FILE")
    parser.add_argument("--page", type=Path, default=FOLDER / "quality.md", metavar="FILE")
    options = parser.parse_args()
    try:
        DistillConfig(temperature=options.temperature, alpha=options.alpha)
    except ValueError as error:
        parser.error(str(error))
    return options


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed is a whole number >= 1")
    return int(text)


def main() -> int:
    """Train, write the sections, print them; 0 done, 1 a reason in one line, 130 interrupted."""
    options = _options()
    one_thread()
    given = {name: getattr(options, name) for name in ("images", "teacher", "teacher_epochs") if getattr(options, name)}
    if options.epochs:
        given["epochs"] = tuple(sorted(set(options.epochs)))
    best = options.temperature, options.alpha
    try:
        for part in PARTS:
            if options.part in (None, part.name):
                run(replace(part, **given), best, options.seeds, records=options.records, page=options.page)
    except (SurfaceError, KdError) as error:
        print(f"quality.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("quality.py: interrupted; what is finished is kept, the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
