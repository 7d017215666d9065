"""The commands archive, import, verify and storage upgrade."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.options import Storage, SweepName, note_storage, storage_url
from sweeps.hints import local
from sweeps.terminal import say, show

app = typer.Typer()
storage_app = typer.Typer(help="The storage itself.", no_args_is_help=True)
app.add_typer(storage_app, name="storage")

Archive = Annotated[Path, typer.Argument(metavar="FILE", help="What kd-sweeps archive wrote.")]


@storage_app.command("upgrade")
def storage_upgrade(storage: Storage = None) -> None:
    """Bring a storage that an older kd-sweeps made to this one.

    Of an SQLite file a copy is kept beside it. Refused while workers are running.
    """
    from storage.db.upgrade import upgrade

    url = storage_url(storage)
    note_storage(url)
    done = upgrade(url)
    if done.before == done.after:
        say(f"schema {done.after} already; nothing to do")
        return
    kept = f"; as it was: {done.copy}" if done.copy else ""
    say(f"upgraded from schema {done.before} to {done.after}{kept}")


@app.command()
def archive(
    name: SweepName,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to; ends in .kdsweep.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    storage: Storage = None,
) -> None:
    """Write a sweep with everything that is stored of it as one file.

    Example: kd-sweeps archive mnist-kd -o mnist-kd.kdsweep
    """
    from sweeps.contrib.archive.transfer import archive_sweep

    url = storage_url(storage)
    done = archive_sweep(url, name, output, force=force)
    note_storage(url)
    say(f"wrote {output}: {', '.join(done.counts)}; {done.size / 1e6:.1f} MB")
    say(f"answer hash {done.answer_hash}" if done.answer_hash else f"{name} has not ended: no answer hash yet")
    into_another = replace(local(), storage="URL").line("import", str(output))
    say(f"to check it: {local().line('verify', str(output))}; to put it into another storage: {into_another}")


@app.command("import")
def import_archive(
    file: Archive,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Another name for the sweep.")] = None,
    storage: Storage = None,
) -> None:
    """Put an archived sweep into a storage.

    Its studies are made anew, so that everything that reads a sweep reads it as before. What was running waits.

    Example: kd-sweeps import mnist-kd.kdsweep --as theirs
    """
    from sweeps.contrib.archive.transfer import import_sweep

    url = storage_url(storage)
    note_storage(url)
    done = import_sweep(url, file, name=name)
    say(f"imported {done.sweep}: {', '.join(done.counts)}")
    if done.answer_hash:
        say(f"answer hash {done.answer_hash}. Next: {local().report(done.sweep)}")
    else:
        say(f"it has not ended. Next: {local().launch(done.sweep)}")


@app.command()
def verify(file: Archive) -> None:
    """Compute what an archive claims from what it holds: selections, verdict, answer hash, blobs.

    Exits 1 if anything differs. It needs no storage. Seconds and latencies are as the file says.
    """
    from sweeps.contrib.archive.verify import UNPROVEN, verify

    checks = verify(file)
    for check in checks:
        text = f"DIFFERS  {check.what}: {check.differs}" if check.differs else f"same     {check.what}"
        # One line, and printable, whatever the file holds.
        show(text if text.isprintable() else ascii(text)[1:-1])
    wrong = sum(bool(check.differs) for check in checks)
    show(UNPROVEN)
    print(f"{len(checks) - wrong} of {len(checks)} as the file claims")
    raise typer.Exit(1 if wrong else 0)
