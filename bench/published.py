"""Does this package get what the field has published of distillation? Rows of a table, each with its paper beside it.

    python bench/published.py [--rows NAME...] [--seeds N] [--full] [--plan | --report]

keras-io: keras.io's example. hinton-errors, no-threes, hinton-units: Hinton et al. 2015, section 3. teachers: Mueller,
Kornblith & Hinton 2019 (smoothed teachers) and Cho & Hariharan 2019 (smaller and early-stopped ones). Every row also
says how often student and teacher agree (Stanton et al. 2021). The small size takes each row at most an hour of two
idle cores; --full has more seeds and epochs, see --full --plan. Each finished training is a line of
bench/results/published.csv and is not trained again: Ctrl-C keeps what is finished, and the same command goes on. Then
bench/results/published.md is written from that file alone, as by --report. The folder bench/results/published.part
keeps the logits of teachers, and a log with a line for every epoch.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from filelock import FileLock, Timeout

from kd.errors import KdError
from support.page import FOLDER, table
from support.published import pool
from support.published.records import Records
from support.published.report import page
from support.published.trainings import FULL, ROWS, SMALL, PublishedError, Size, Training, trainings_of
from sweeps.workers.environment import one_thread


def run(
    rows: Sequence[str], size: Size, records: Records, folder: Path, *, processes: int, seeds: int | None = None
) -> None:
    """Train what the rows lack, one row after another, and keep it line by line; says on stderr how far it is.

    Args:
        rows: keys of `ROWS`.
        size: which trainings these are.
        records: finished ones; those of this run are added.
        folder: for logits and the log.
        processes: at most so many at once.
        seeds: train only the first so many of each cell; None trains all.

    Raises:
        BrokenProcessPool, KdError, PublishedError: a training failed, or the file cannot be written.
    """
    for row in rows:
        wanted = [one for one in trainings_of(row, size) if seeds is None or one.seed < seeds]
        todo = pool.missing(wanted, records.lines, folder)
        teaching = {one.teacher_key for one in wanted if one.teacher}
        left = list(todo)
        _say(f"{row}: {len(wanted) - len(todo)} of {len(wanted)} are recorded, {_left(left, records, processes)}")
        for training, result in pool.train(todo, teaching, folder, processes=processes) if todo else ():
            left.remove(training)
            if training not in records.lines:
                records.append(training, result)
            elif records.lines[training].errors != result.errors:
                _say(
                    f"{row}: teacher {training.name} was trained again for its logits and makes {result.errors} errors,"
                    f" not {records.lines[training].errors}: another machine or version; its later students differ"
                )
            _say(
                f"{row}: {len(wanted) - len(left)} of {len(wanted)}; {training.arm} {training.name} T="
                f"{training.temperature:g} seed {training.seed}: {result.errors} errors, {result.train_s:.0f} s;"
                f" {_left(left, records, processes)}"
            )


def plan(rows: Sequence[str], size: Size, records: Records, folder: Path, processes: int) -> str:
    """Return a table of trainings and hours by row; what two rows share is counted in the first."""
    seen: set[Training] = set()
    lines = []
    for row in rows:
        wanted = [one for one in trainings_of(row, size) if one not in seen]
        seen.update(wanted)
        todo = pool.missing(wanted, records.lines, folder)
        hours = [sum(pool.seconds_of(one, records.lines, cpu=True) for one in some) / 3600 for some in (wanted, todo)]
        lines.append([row, len(wanted), len(todo), *(f"{each / processes:.2f}" for each in hours)])
    total = [sum(float(line[place]) for line in lines) for place in (3, 4)]
    lines.append(
        ["all", sum(line[1] for line in lines), sum(line[2] for line in lines), *(f"{each:.2f}" for each in total)]
    )
    heads = ("row", "trainings", "missing", f"hours of {processes} cores", "hours left")
    return table(heads, lines)


def _left(left: Sequence[Training], records: Records, processes: int) -> str:
    seconds = sum(pool.seconds_of(one, records.lines, cpu=False) for one in left) / processes
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes:02} min left"


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME", help=", ".join(ROWS))
    parser.add_argument("--full", action="store_true", help="more seeds and epochs: --full --plan says how long")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--plan", action="store_true", help="print trainings and hours by row; train nothing")
    only.add_argument("--report", action="store_true", help="write the page from the CSV; train nothing")
    parser.add_argument("--seeds", type=_count, metavar="N", help="train only the first N seeds now (default: all)")
    parser.add_argument("--processes", type=_count, default=os.cpu_count() or 1, metavar="N", help="default: the cores")
    parser.add_argument("--records", type=Path, default=FOLDER / "published.csv", metavar="FILE")
    parser.add_argument("--page", type=Path, default=FOLDER / "published.md", metavar="FILE")
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed is a whole number >= 1")
    return int(text)


def main() -> int:
    """Train, write the page, print it; 0 done, 1 a reason in one line, 130 interrupted."""
    options = _options()
    rows, size = list(dict.fromkeys(options.rows)), FULL if options.full else SMALL
    folder = options.records.with_suffix(".part")
    one_thread()
    try:
        for row in rows:
            trainings_of(row, size)  # a name that is none is said now, not after hours
        records = Records(options.records)
        if options.plan:
            print(plan(rows, size, records, folder, options.processes))
            return 0
        if not options.report:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".gitignore").write_text("*\n")
            with FileLock(folder / "lock", timeout=0):
                records = Records(options.records)
                run(rows, size, records, folder, processes=options.processes, seeds=options.seeds)
        text = page(records.lines, size)
        options.page.write_text(text, encoding="utf-8")
        print(text)
    except Timeout:
        print(f"published.py: another run writes {options.records}; wait, or give --records FILE", file=sys.stderr)
        return 1
    except BrokenProcessPool:
        print(f"published.py: a process died, see {folder / 'log'}; the same command goes on", file=sys.stderr)
        return 1
    except (KdError, PublishedError) as error:
        print(f"published.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"published.py: cannot write: {error}; give another --records or --page", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("published.py: interrupted; what is finished is kept, the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
