"""The command replay: rerun finished tasks."""

from typing import Annotated

import typer

from sweeps.cli.options import Data, Storage, SweepName, note_storage, use_folders, whole_number
from sweeps.terminal import show

app = typer.Typer()


@app.command()
def replay(
    name: SweepName,
    task: Annotated[str | None, typer.Option(metavar="KEY", help="Task to rerun, for example search#3.")] = None,
    sample: Annotated[str, typer.Option(metavar="N", help="Number of finished tasks to draw at random.")] = "5",
    storage: Storage = None,
    data: Data = None,
) -> None:
    """Rerun finished tasks and compare with stored results.

    Compares bit by bit and writes nothing. Exits 1 if anything differs.

    Example: kd-sweeps replay mnist-kd --task search#3
    """
    from sweeps.query.listing import open_sweep
    from sweeps.spec.stored import as_it_stands
    from sweeps.usecases import replay as again

    use_folders(data, None)
    count = whole_number("--sample", sample, least=1, most=100_000, example="5")
    with open_sweep(storage, name) as (engine, sweep):
        note_storage(engine.url)
        tasks = again.chosen(engine, sweep, key=task, sample=count)
        different, spec = 0, as_it_stands(sweep)
        score, exact = spec.score, spec.kind.features.exact
        for result in again.replay(engine, sweep, tasks, on_step=lambda: None):
            different += bool(result.differs)
            difference = "; ".join(result.differs) or "identical"
            before, now = result.numerics
            shown = f"{score.number(result.score):>6} {score.unit}".rstrip()
            kind = f" (trained with numerics {before}, here {now})" if result.differs and before != now else ""
            show(f"{result.key:<28} {shown}  {difference}{kind}")
    promised = "" if exact else "; this trainer does not promise the same score (trainer.exact = false)"
    print(f"{len(tasks)} rerun, {different} differ{promised}")
    raise typer.Exit(1 if different and exact else 0)
