"""Take out of a sweep what it made: students, logits, runs for a tracker, and finished tasks trained again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sweeps.cli.options import Data, Storage, SweepName, note_storage, use_folders, whole_number
from sweeps.errors import SpecError
from sweeps.terminal import number_of, say

app = typer.Typer()


@app.command()
def export(
    name: SweepName,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to: .keras, .npz of logits; --to: a folder.")
    ],
    to: Annotated[
        str | None, typer.Option(metavar="TRACKER", help="Not a student but every training as a run: mlflow, wandb.")
    ] = None,
    logits: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Not a student but the teacher's logits: source, target.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Trained on this one; the source when not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    storage: Storage = None,
) -> None:
    """Write a student trained at the best (T, alpha) as a .keras file, a teacher's logits, or runs for a tracker.

    The student takes uint8 images (values 0 to 255) and gives logits; keras.saving.load_model reads it, without this
    package. Logits are the teacher of another sweep, or on another machine: --teacher logits:FILE.npz. With --to, each
    finished training is a run in that folder, for MLflow's page or for wandb sync; nothing is sent.

    Examples: kd-sweeps export mnist-kd -o student.keras; kd-sweeps export mnist-kd --logits source -o logits.npz;
    kd-sweeps export mnist-kd --to mlflow -o runs
    """
    from sweeps.distill.export import check_target, find_student, write_student
    from sweeps.query.listing import open_sweep
    from sweeps.stats.estimates import percent

    if to is not None:
        _export_runs(
            name, output, to, storage=storage, others={"--logits": logits, "--dataset": dataset, "--force": force}
        )
        return
    if logits is not None:
        _export_logits(name, output, logits, force=force, storage=storage)
        return
    check_target(output, force=force)
    with open_sweep(storage, name) as (engine, sweep):
        student = find_student(engine, sweep, dataset)
        note_storage(engine.url)
    write_student(student, output)
    point = student.point
    say(f"wrote {output}: student of {student.dataset}, {point.text(4)}")
    say(f"recorded test accuracy {percent(student.test_accuracy):.2f} %")
    say(f"sha256 {student.sha256}")


def _export_logits(name: str, output: Path, role: str, *, force: bool, storage: str | None) -> None:
    from sweeps.distill.export import check_target, find_logits, write_logits
    from sweeps.query.listing import open_sweep
    from sweeps.stats.estimates import percent

    check_target(output, force=force, suffix=".npz")
    with open_sweep(storage, name) as (engine, sweep):
        teacher = find_logits(engine, sweep, role)
        note_storage(engine.url)
    write_logits(teacher, output)
    images, classes = teacher.logits.shape
    say(f"wrote {output}: logits of {images:,} training images of {teacher.dataset}, {classes} classes")
    say(f"{teacher.provenance}; validation accuracy {percent(teacher.val_accuracy):.2f} %")
    say(f"sha256 of the logits {teacher.sha256}")
    say(f"as a teacher: --teacher logits:{output}")


def _export_runs(name: str, folder: Path, tracker: str, *, storage: str | None, others: dict[str, Any]) -> None:
    from sweeps.contrib.trackers import check_tracker, export_runs
    from sweeps.query.listing import open_sweep

    check_tracker(tracker)
    typed = next((option for option, value in others.items() if value), None)
    if typed is not None:
        raise SpecError(f"--to {tracker} writes every training, and replaces none; leave out {typed}")
    with open_sweep(storage, name) as (engine, sweep):
        note_storage(engine.url)
        exported = export_runs(engine, sweep, tracker, folder)
    print(f"{number_of(exported.written, 'run')} written into {folder}, {exported.there} already there")
    say(f"to see them: {exported.see}")


@app.command()
def replay(
    name: SweepName,
    task: Annotated[str | None, typer.Option(metavar="KEY", help="This task, such as search#3.")] = None,
    sample: Annotated[str, typer.Option(metavar="N", help="So many finished tasks, drawn at random.")] = "5",
    storage: Storage = None,
    data: Data = None,
) -> None:
    """Train finished tasks again and compare them with what is stored, bit by bit.

    Writes nothing. Exits 1 if anything differs.

    Example: kd-sweeps replay mnist-kd --task search#3
    """
    from sweeps.query.listing import open_sweep
    from sweeps.stats.estimates import percent
    from sweeps.usecases import replay as again

    use_folders(data, None)
    count = whole_number("--sample", sample, least=1, most=100_000, example="5")
    with open_sweep(storage, name) as (engine, sweep):
        note_storage(engine.url)
        tasks = again.chosen(engine, sweep, key=task, sample=count)
        different = 0
        for result in again.replay(engine, sweep, tasks, on_step=lambda: None):
            different += bool(result.differs)
            difference = "; ".join(result.differs) or "the same bits"
            before, now = result.numerics
            kind = f" (trained with numerics {before}, here {now})" if result.differs and before != now else ""
            print(f"{result.key:<28} {percent(result.score):6.2f} %  {difference}{kind}", flush=True)
    print(f"{len(tasks)} trained again, {different} differ")
    raise typer.Exit(1 if different else 0)
