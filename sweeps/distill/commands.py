"""Add the commands of a distillation: export students, logits and runs; list and download datasets."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from sweeps.cli import options
from sweeps.cli.options import Storage, SweepName, note_storage
from sweeps.cli.text import Format, render
from sweeps.errors import SpecError
from sweeps.extensions import attribute, require
from sweeps.terminal import number_of, say

app = typer.Typer()
data_commands = typer.Typer()
data_app = typer.Typer(help="List and download datasets.", no_args_is_help=True)
data_commands.add_typer(data_app, name="data")


@app.command()
def export(
    name: SweepName,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="File: .keras, or .npz for logits; with --to, a folder."),
    ],
    to: Annotated[
        str | None, typer.Option(metavar="TRACKER", help="Export every training as a run instead: mlflow, wandb.")
    ] = None,
    logits: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Export the teacher's logits instead: source, target.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Dataset of the student (default: the source).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    storage: Storage = None,
) -> None:
    """Write the best student, a teacher's logits, or runs.

    The student was trained at the best (T, alpha). It takes uint8 images (values 0 to 255) and returns logits;
    keras.saving.load_model reads it without this package. Exported logits can be the teacher of another sweep:
    --teacher logits:FILE.npz. With --to, each finished training becomes a run in that folder, for MLflow's page or
    wandb sync; nothing is uploaded.

    Examples: kd-sweeps export mnist-kd -o student.keras; kd-sweeps export mnist-kd --logits source -o logits.npz;
    kd-sweeps export mnist-kd --to mlflow -o runs
    """
    if to is not None:
        _export_runs(
            name, output, to, storage=storage, others={"--logits": logits, "--dataset": dataset, "--force": force}
        )
        return
    require("train", "export")
    from sweeps.distill.export import find_student, write_student
    from sweeps.query.listing import open_sweep
    from sweeps.stats.estimates import percent
    from sweeps.usecases.files import check_target

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
    from sweeps.distill.export import find_logits, write_logits
    from sweeps.query.listing import open_sweep
    from sweeps.stats.estimates import percent
    from sweeps.usecases.files import check_target

    check_target(output, force=force, suffix=".npz")
    with open_sweep(storage, name) as (engine, sweep):
        teacher = find_logits(engine, sweep, role)
        note_storage(engine.url)
    write_logits(teacher, output)
    images, classes = teacher.logits.shape
    say(f"wrote {output}: logits of {images:,} training images of {teacher.dataset}, {classes} classes")
    say(f"{teacher.provenance}; validation accuracy {percent(teacher.val_accuracy):.2f} %")
    say(f"sha256 of the logits {teacher.sha256}")
    say(f"to use it as a teacher: --teacher {quote(f'logits:{output}')}")


def _export_runs(name: str, folder: Path, tracker: str, *, storage: str | None, others: dict[str, Any]) -> None:
    from sweeps.query.listing import open_sweep

    typed = next((option for option, value in others.items() if value), None)
    if typed is not None:
        raise SpecError(f"--to {tracker} writes every training, and replaces none; leave out {typed}")
    attribute("sweeps.contrib.trackers:check_tracker")(tracker)
    with open_sweep(storage, name) as (engine, sweep):
        note_storage(engine.url)
        exported = attribute("sweeps.contrib.trackers:export_runs")(engine, sweep, tracker, folder)
    print(f"{number_of(exported.written, 'run')} written into {folder}, {exported.there} already there")
    say(f"to see them: {exported.see}")


@data_app.command("list")
def data_list(form: options.Form = Format.table, data: options.Data = None) -> None:
    """List the datasets, and where to get missing ones."""
    require("train", "data list")
    from sweeps.distill.fetch import locations

    print(render(locations(data), form))


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(metavar="DATASET", help="mnist, fashion_mnist, cifar10, cifar100")],
    data: options.Data = None,
) -> None:
    """Download datasets into the cache of this machine."""
    require("train", "data fetch")
    from sweeps.distill.fetch import fetch

    for name in names:
        print(fetch(name, data_dir=data))
