"""The tables of the extras and of what is known by a name."""

from sweeps.extensions import COMMANDS, ENGINES, EXTRAS, TRACKERS, TRAINERS


def table() -> str:
    """Return one row for each extra that something needs."""
    rows = [f"| `{name}` | {extra.help} |" for name, extra in EXTRAS.items()]
    return "\n".join(["| extra | needed for |", "| --- | --- |", *rows])


def names() -> str:
    """Return one row for each trainer, engine, tracker and further command."""
    tables = {"trainers": TRAINERS, "engines": ENGINES, "trackers": TRACKERS, "commands": COMMANDS}
    rows = [
        f"| `kd_sweeps.{group}` | `{name}` | {row.help} | {f'`{row.extra}`' if row.extra else ''} |"
        for group, known in tables.items()
        for name, row in known.items()
    ]
    return "\n".join(["| entry points | name | what it is | extra |", "| --- | --- | --- | --- |", *rows])
