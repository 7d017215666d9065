"""The pickles inside torch's older checkpoints, read as data: nothing is imported, looked up or called.

Two dozen of pickle's instructions are enough to write a dictionary of tensors; every other one is an error. Python's
own `pickle.Unpickler` would have to be talked out of each danger in turn, and reserves memory as a file asks it to.
torch reads untrusted files in the same way: https://pytorch.org/docs/stable/generated/torch.load.html, `weights_only`.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from dataclasses import dataclass
from typing import Any

__all__ = ["Call", "Global", "Persistent", "read_pickle"]

LARGEST = 1 << 20  # bytes of one pickle; those of EfficientNet-Lite0 with its 296 tensors take 42 thousand

_LITERALS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MARK = object()


@dataclass(frozen=True)
class Global:
    """A name of the form "module name"; what it stands for is never looked up."""

    name: str


@dataclass(frozen=True)
class Call:
    """What would be a call of a function; it is not made."""

    function: Global
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Persistent:
    """A reference to something outside the pickle, as the writer described it."""

    description: Any


ORDERED_DICT = Global("collections OrderedDict")


def read_pickle(stream: io.BytesIO, allowed: frozenset[str]) -> Any:
    """One object: of None, bool, int, str, tuple, list, dict with text as keys, Global, Call and Persistent.

    An OrderedDict is a dict here, and attributes that the writer gave it are dropped.

    Args:
        stream: stands at the first byte of the pickle, and afterwards behind its last.
        allowed: the globals that may be named, as "module name".

    Raises:
        ValueError: one line: the instruction or the name that is not allowed, or that this is no whole pickle.
    """
    machine = _Machine(allowed)
    start = stream.tell()
    with warnings.catch_warnings(action="ignore"):  # pickletools remarks on odd escapes in a name; it is refused anyway
        try:
            for opcode, argument, position in pickletools.genops(stream):
                if position is None or position - start > LARGEST:
                    raise ValueError(f"a pickle of more than {LARGEST} bytes")
                if opcode.name == "STOP":
                    return machine.pop()
                machine.step(opcode.name, argument)
        except (IndexError, KeyError) as error:
            raise ValueError("a pickle that refers to what it has not made") from error
    raise ValueError("a pickle without an end")


class _Machine:
    """Pickle's stack and memo, and the instructions of the module's first lines."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a pickle that takes a mark for a value")
        return value

    def step(self, name: str, argument: Any) -> None:
        push = self._stack.append
        match name:
            case "PROTO":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                push(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                push(_LITERALS[name])
            case "EMPTY_DICT":
                push({})
            case "EMPTY_LIST":
                push([])
            case "MARK":
                push(_MARK)
            case "TUPLE":
                push(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple([self.pop() for _ in range(int(name[-1]))][::-1]))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self._memo[argument])
            case "APPEND":
                self._extend([self.pop()])
            case "APPENDS":
                self._extend(self._pop_to_mark())
            case "SETITEM":
                self._update([self.pop(), self.pop()][::-1])
            case "SETITEMS":
                self._update(self._pop_to_mark())
            case "GLOBAL":
                if argument not in self._allowed:
                    raise ValueError(f"it names {argument!r:.80}, which no weights need")
                push(Global(argument))
            case "BINPERSID":
                push(Persistent(self.pop()))
            case "REDUCE":
                self._call()
            case "BUILD":  # an OrderedDict's attributes: torch notes the versions of its layers there
                self.pop()
                if not isinstance(self._stack[-1], dict):
                    raise ValueError("it sets attributes of something that is not a dictionary")
            case _:
                raise ValueError(f"it contains the pickle instruction {name}, which no weights need")

    def _pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise ValueError("it appends to something that is not a list")
        self._stack[-1].extend(values)

    def _update(self, flat: list[Any]) -> None:
        keys, values = flat[::2], flat[1::2]
        if not isinstance(self._stack[-1], dict) or len(keys) != len(values):
            raise ValueError("it sets items of something that is not a dictionary")
        # Only text: to hash a tuple of tuples of tuples would overflow the interpreter's stack.
        if not all(isinstance(key, str) for key in keys):
            raise ValueError("it contains a dictionary whose keys are not text")
        self._stack[-1].update(zip(keys, values, strict=True))

    def _call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ValueError("it calls something that has no name")
        # An empty OrderedDict is the one call that is answered, by a dictionary: items are put into it.
        made = function == ORDERED_DICT and not arguments
        self._stack.append({} if made else Call(function, arguments))
