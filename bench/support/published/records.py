"""The finished trainings of bench/published.py in a CSV file, one line each; an interrupted run goes on from there."""

from __future__ import annotations

import csv
import io
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from support.published.trainings import PublishedError, Training


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a training gave on the test images.

    Attributes:
        train_images, test_images: how many there were.
        errors, threes: test images that are wrong, and those among them that show a 3.
        agreement: share of the test images of which it says what its teacher says; None without a teacher.
        raised_errors, raised_threes: the same counts with the bias of class 3 raised by 3.5; None where 3s were there.
        best_bias, best_errors, best_threes: the same with the raise that gives the fewest errors on the test images.
        train_s, cpu_s: wall-clock and CPU seconds of the training, compilation included where it was the first.
        finished: UTC, to the minute.
        commit, versions, machine: what it was trained with.
    """

    train_images: int
    test_images: int
    errors: int
    threes: int
    agreement: float | None
    raised_errors: int | None
    raised_threes: int | None
    best_bias: float | None
    best_errors: int | None
    best_threes: int | None
    train_s: float
    cpu_s: float
    finished: str
    commit: str
    versions: str
    machine: str

    @property
    def accuracy(self) -> float:
        """Test accuracy, a fraction in [0, 1]."""
        return 1 - self.errors / self.test_images


Lines = Mapping[Training, Result]

HEADS = [one.name for kind in (Training, Result) for one in fields(kind)]


class Records:
    """A CSV file of finished trainings.

    A line that a killed run left half-written is cut off; anything else that is not such a line is refused, and the
    file stays as it is.

    Raises:
        PublishedError: the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            self.lines = self._read(whole or f"{','.join(HEADS)}\n")
        except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
            raise PublishedError(f"cannot read {path}: {error}; to begin again, type: rm {path}") from None
        self._torn = whole != text

    def append(self, training: Training, result: Result) -> None:
        """Keep a finished training; it is on the disk when this returns.

        Raises:
            PublishedError: the file cannot be written.
        """
        try:
            if self._torn:
                text = self._path.read_text(encoding="utf-8")
                self._path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
                self._torn = False
            line = io.StringIO()
            writer = csv.writer(line, lineterminator="\n")
            if not self._path.exists() or not self._path.stat().st_size:
                writer.writerow(HEADS)
            writer.writerow(_text(getattr(owner, one.name)) for owner in (training, result) for one in fields(owner))
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line.getvalue())
        except OSError as error:
            raise PublishedError(f"cannot write {self._path}: {error}; give another file with --records") from None
        self.lines[training] = result

    def _read(self, text: str) -> dict[Training, Result]:
        lines = csv.DictReader(text.splitlines())
        if lines.fieldnames != HEADS:
            raise ValueError(f"its columns are {lines.fieldnames}, allowed are {','.join(HEADS)}")
        found: dict[Training, Result] = {}
        for number, line in enumerate(lines, 2):
            try:
                found[_parsed(Training, line)] = _parsed(Result, line)
            except (TypeError, ValueError) as error:
                raise ValueError(f"line {number}: {error}") from None
        return found


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _parsed(kind: Any, line: Mapping[str, str]) -> Any:
    kinds = typing.get_type_hints(kind)
    return kind(**{one.name: _value(line[one.name], kinds[one.name]) for one in fields(kind)})


def _value(text: str, kind: Any) -> Any:
    options = typing.get_args(kind)
    if type(None) in options:
        return None if text == "" else options[0](text)
    return text if options or kind is str else kind(text)  # a Literal is text
