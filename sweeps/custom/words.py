"""The arguments of a function and the words of a command. Light, as all that a child process imports."""

import re
import shlex
from collections.abc import Iterable, Mapping

GIVEN = ("seed", "dataset", "folder", "report")
"""What a function is called with beside its parameters, where it has an argument of that name."""

PLACEHOLDERS = ("seed", "dataset", "role", "arm", "test", "folder", "out")
"""What a command may have in braces beside its parameters."""

_BRACES = re.compile(r"\{([A-Za-z_]\w*)\}")


def split(command: str) -> list[str]:
    """Return the words of a command, as a shell would split them; nothing else of a shell is done."""
    return shlex.split(command)


def placeholders(command: str) -> list[str]:
    """Return the names that a command has in braces."""
    return [name for word in split(command) for name in _BRACES.findall(word)]


def filled(words: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Return the words of a command with the values of its placeholders; each stays within its word."""
    return [_BRACES.sub(lambda match: values[match[1]], word) for word in words]
