"""The commands archive, import, verify and storage upgrade."""

from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from sweeps.cli.options import Storage, SweepName, note_storage, storage_url
from sweeps.hints import local
from sweeps.terminal import say, show

app = typer.Typer()
storage_app = typer.Typer(help="Upgrade a storage made by an older kd-sweeps.", no_args_is_help=True)
app.add_typer(storage_app, name="storage")

Archive = Annotated[Path, typer.Argument(metavar="FILE", help="File written by kd-sweeps archive.")]


@storage_app.command("upgrade")
def storage_upgrade(storage: Storage = None) -> None:
    """Upgrade a storage made by an older kd-sweeps.

    Keeps a copy of the old SQLite file. Refused while workers are running.
    """
    from storage.db.upgrade import upgrade

    url = storage_url(storage)
    note_storage(url)
    done = upgrade(url)
    if done.before == done.after:
        say(f"already at schema {done.after}; nothing to do")
        return
    kept = f"; copy of the old file: {done.copy}" if done.copy else ""
    say(f"upgraded from schema {done.before} to {done.after}{kept}")


@app.command()
def archive(
    name: SweepName,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="File to write; ends in .kdsweep.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    storage: Storage = None,
) -> None:
    """Pack a sweep with all its results into one file.

    `import` and `verify` read it.

    Example: kd-sweeps archive mnist-kd -o mnist-kd.kdsweep
    """
    from sweeps.contrib.archive.transfer import archive_sweep

    url = storage_url(storage)
    done = archive_sweep(url, name, output, force=force)
    note_storage(url)
    say(f"wrote {output}: {', '.join(done.counts)}; {done.size / 1e6:.1f} MB")
    unfinished = f"{name} is not finished, so it has no answer hash yet"
    say(f"answer hash {done.answer_hash}" if done.answer_hash else unfinished)
    file = quote(str(output))
    into_another = replace(local(), storage="URL").line("import", file)
    say(f"to check it: {local().line('verify', file)}; to import it into another storage: {into_another}")


@app.command("import")
def import_archive(
    file: Archive,
    name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="New name for the sweep.")] = None,
    storage: Storage = None,
) -> None:
    """Import an archived sweep into a storage.

    Recreates its studies, so that every command works as before. Queues tasks that were running.

    Example: kd-sweeps import mnist-kd.kdsweep --as theirs
    """
    from sweeps.contrib.archive.transfer import import_sweep

    url = storage_url(storage)
    note_storage(url)
    done = import_sweep(url, file, name=name)
    say(f"imported {done.sweep}: {', '.join(done.counts)}")
    if done.answer_hash:
        say(f"answer hash {done.answer_hash}. Next: {local().line('report', done.sweep)}")
    else:
        say(f"not finished yet. Next: {local().line('launch', done.sweep)}")


@app.command()
def verify(file: Archive) -> None:
    """Recompute what an archive claims, and compare.

    Recomputes selections, verdict, answer hash and blobs from its contents. Exits with 1 if anything differs.
    Needs no storage. Seconds and latencies cannot be recomputed.
    """
    from sweeps.contrib.archive.verify import UNPROVEN, verify

    checks = verify(file)
    for check in checks:
        text = f"DIFFERS  {check.what}: {check.differs}" if check.differs else f"same     {check.what}"
        # One printable line, whatever the file contains.
        show(text if text.isprintable() else ascii(text)[1:-1])
    wrong = sum(bool(check.differs) for check in checks)
    show(UNPROVEN)
    print(f"{len(checks) - wrong} of {len(checks)} as the file claims")
    raise typer.Exit(1 if wrong else 0)
