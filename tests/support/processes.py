"""The state of processes and their descendants, from /proc. Imports no pytest."""

from pathlib import Path

from tests.support.sweeps.small_sweeps import wait_until


def is_alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not."""
    return _state_and_parent(pid)[0] not in ("", "Z", "X")


def wait_until_gone(*pids: int) -> None:
    """Return once none of the processes runs."""
    wait_until(lambda: not any(map(is_alive, pids)), f"one of {pids} still runs")


def parent_of(pid: int) -> int:
    """Return the process number of its parent; 0 where it has ended."""
    return _state_and_parent(pid)[1]


def descendants(pid: int) -> set[int]:
    """Return the process numbers of its children, their children, and so on."""
    children: dict[int, set[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        _, parent = _state_and_parent(int(folder.name))
        children.setdefault(parent, set()).add(int(folder.name))
    all_below: set[int] = set()
    fresh = children.get(pid, set())
    while fresh:
        all_below |= fresh
        fresh = set().union(*(children.get(number, set()) for number in fresh)) - all_below
    return all_below


def _state_and_parent(pid: int) -> tuple[str, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return "", 0
    state, parent = text.rpartition(") ")[2].split()[:2]  # the name before it may contain anything
    return state, int(parent)


def command_of(pid: int) -> bytes:
    """Return its command line; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
