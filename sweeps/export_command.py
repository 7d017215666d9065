"""The command that takes a finished student out of the storage. It does not import TensorFlow."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.options import Storage, SweepName
from sweeps.output import say

app = typer.Typer()


@app.command()
def export(
    name: SweepName,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to; ends in .keras.")],
    dataset: Annotated[
        str | None, typer.Option(metavar="DATASET", help="Trained on this one; the source when not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    storage: Storage = None,
) -> None:
    """A student trained at the best (T, alpha), as a .keras file.

    It takes uint8 images (values 0 to 255) and gives logits; keras.saving.load_model reads it, without this package.

    Example: kd-sweeps export mnist-kd -o student.keras
    """
    from storage.url import masked
    from sweeps.export import check_target, find_student, write
    from sweeps.reading import opened

    check_target(output, force=force)
    with opened(storage, name) as (engine, sweep):
        student = find_student(engine, sweep, dataset)
        say(f"storage {masked(engine.url)}")
    write(student, output)
    say(f"wrote {output}: student of {student.dataset}, T={student.temperature:.4g}, alpha={student.alpha:.4g}")
    say(f"recorded test accuracy {100 * student.test_accuracy:.2f} %")
    say(f"sha256 {student.sha256}")
