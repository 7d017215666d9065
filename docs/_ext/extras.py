"""The table of the extras; apart from the other tables, because it is all that needs no database and no spec."""

from sweeps.extensions import EXTRAS


def table() -> str:
    """Return one row for each extra that something needs."""
    rows = [f"| `{name}` | {extra.help} |" for name, extra in EXTRAS.items()]
    return "\n".join(["| extra | needed for |", "| --- | --- |", *rows])
