"""Read a table of runs as text from a CSV file or Optuna studies; refuse any other file in one clear line."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import UrlError
from sweeps.errors import UnreadableRuns
from sweeps.terminal import escape_control_chars, truncated

STDIN = "-"
# A table has a row per run; nobody trains this many, and a log of steps is refused early.
MOST_ROWS, MOST_CELLS = 200_000, 5_000_000
_HEAD = 4096  # bytes examined before reading
_BEGINNINGS = (
    (b"PK\x03\x04", "an Excel file or another zip archive; save the sheet as CSV UTF-8 and give that"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file; save the sheet as CSV UTF-8 and give that"),
    (b"\x1f\x8b", "compressed; unpack it first: gunzip -k FILE"),
    (b"SQLite format 3\x00", "an SQLite database; of Optuna's studies give its URL: sqlite:///FILE --study NAME"),
    (b"PAR1", "a Parquet file; in pandas: read_parquet(FILE).to_csv('runs.csv', index=False)"),
    (codecs.BOM_UTF16_LE, "UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > runs.csv"),
    (codecs.BOM_UTF16_BE, "UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > runs.csv"),
)
_ESCAPED = re.compile(r"'[-+=@]")  # MLflow's page writes '-0.5 to keep spreadsheets from computing it
_COMMA = re.compile(r"[-+]?\d+,\d+")
_OF_TRIAL = ("study", "number", "state", "value")


@dataclass(frozen=True)
class TextRow:
    """A row as text, with one cell per column. line: its number, from 1."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True)
class RunTable:
    """A table. source: its name in messages. rows: read lazily. decimal_comma: whether 0,93 is a number.

    minimize: whether lower is better, None if the source does not tell. unit: counted by the number of a row.
    """

    source: str
    header: tuple[str, ...]
    rows: Iterator[TextRow]
    decimal_comma: bool = False
    minimize: bool | None = None
    unit: str = "line"

    def text(self, cell: str) -> str:
        """Return a cell without its program's escapes, see `normal`."""
        cell = cell.strip()
        if _ESCAPED.match(cell):
            cell = cell[1:]
        return normal(cell.replace(",", ".") if self.decimal_comma and _COMMA.fullmatch(cell) else cell)


def normal(text: str) -> str:
    """Return a text on one line, with numbers in one form: 1 and 1.0 are the same seed."""
    text = escape_control_chars(" ".join(text.split()))
    if not text or text[0] not in "+-.0123456789":
        return text
    try:
        return f"{float(text):.15g}" if len(text) < 18 and "_" not in text else text
    except ValueError:
        return text


@contextmanager
def read_csv(path: str) -> Iterator[RunTable]:
    """Open a CSV file, or stdin for "-", with commas, semicolons or tabs.

    Raises:
        UnreadableRuns: it is missing, not text, empty or without rows or, while reading, a row is malformed.
    """
    source = "stdin" if path == STDIN else path
    with _opened(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        try:
            head = stream.peek(_HEAD)[:_HEAD]
        except OSError as error:  # such as a closed stdin
            raise _unreadable(source, error) from None
        _refuse_binary(source, head)
        delimiter = _delimiter(head)
        rows = _rows(source, text, delimiter)
        first = next(rows, None)
        if first is not None and first.cells[0].strip().lower() == "sep=":  # a line that Excel writes before the header
            first = next(rows, None)
        if first is None:
            raise UnreadableRuns(f"{source} is empty; give a CSV file with a header and one row for each run")
        header = tuple(escape_control_chars(" ".join(cell.split())) for cell in first.cells)
        if len(header) < 2:
            raise UnreadableRuns(
                f"{source}, line {first.line}: one column, {truncated(header[0], 60)!r}; begin with a header, and"
                " separate columns by commas, semicolons or tabs"
            )
        yield RunTable(source, header, _checked(source, header, rows), decimal_comma=delimiter != ",")


def _opened(path: str) -> io.BufferedReader:
    try:
        if path == STDIN:
            return open(0, "rb", closefd=False)
        if path and Path(path).is_dir():  # Path("") is the present folder
            raise UnreadableRuns(f"{path} is a folder; give the CSV file in it")
        return open(path, "rb")
    except FileNotFoundError:
        missing = f"{path or repr(path)}: no such file; give a CSV file, - for stdin, or an Optuna URL"
        raise UnreadableRuns(missing) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(source: str, error: Exception) -> UnreadableRuns:
    why = getattr(error, "strerror", None) or error
    return UnreadableRuns(f"{source} cannot be read: {why}; give a CSV file, - for stdin, or an Optuna URL")


def _refuse_binary(source: str, head: bytes) -> None:
    kind = next((kind for beginning, kind in _BEGINNINGS if head.startswith(beginning)), None)
    if kind is not None:
        raise UnreadableRuns(f"{source} is {kind.replace('FILE', source)}")
    if b"\x00" in head:
        raise UnreadableRuns(f"{source} is binary; give a CSV file in UTF-8")


def _delimiter(head: bytes) -> str:
    # From the first line only: text cells below may contain any of them.
    first = re.sub(rb'"[^"]*"', b"", head).splitlines()[:1]
    counts = {sign: first[0].count(sign.encode()) if first else 0 for sign in (",", ";", "\t")}
    return max(counts, key=lambda sign: counts[sign])


def _rows(source: str, text: io.TextIOWrapper, delimiter: str) -> Iterator[TextRow]:
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield TextRow(begins, cells)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UnreadableRuns(
            f"{source}, line {begins}: not CSV: {error}; a quote is not closed or not doubled"
        ) from None
    except OSError as error:
        raise _unreadable(source, error) from None
    except UnicodeDecodeError as error:
        raise UnreadableRuns(
            f"{source} is not UTF-8 (it has a byte 0x{error.object[error.start]:02x}); convert it:"
            f" iconv -f LATIN1 -t UTF-8 {source} > runs-utf8.csv"
        ) from None


def _checked(source: str, header: tuple[str, ...], rows: Iterator[TextRow]) -> Iterator[TextRow]:
    most, count, width = min(MOST_ROWS, MOST_CELLS // max(len(header), 1)), 0, len(header)
    for count, row in enumerate(rows, start=1):
        if count > most:
            raise UnreadableRuns(
                f"{source} has more than {most:,} rows; give one row for each run, such as the last step of each"
            )
        if len(row.cells) != width:
            more = "quote a cell that contains the delimiter, and write 0.93 for 0,93"
            raise UnreadableRuns(
                f"{source}, line {row.line}: {len(row.cells)} cells, but the header has {width};"
                f" {more if len(row.cells) > width else 'leave a cell empty rather than out'}"
            )
        yield row
    if not count:
        raise UnreadableRuns(f"{source} has a header and no rows; give one row for each run")


def read_studies(url: str, studies: Sequence[str]) -> RunTable:
    """Return the trials of Optuna studies in the columns of `Study.trials_dataframe` and one for the study.

    Raises:
        storage.errors.StorageError: the storage or a study does not exist.
        UnreadableRuns: the studies have no trials.
    """
    from storage.studies.foreign import read_trials  # here, with Optuna: CSV files do without
    from storage.url import masked, resolve

    try:
        checked = resolve(url)
    except UrlError as error:
        raise UrlError(str(error).replace("--storage is", "the URL is", 1)) from None
    read, source = read_trials(checked, studies), masked(checked)
    if not read.trials:
        raise UnreadableRuns(f"{source}: the studies have no trials yet")
    params = list(dict.fromkeys(name for trial in read.trials for name in trial.params))
    attrs = list(dict.fromkeys(name for trial in read.trials for name in trial.attrs))
    header = (*_OF_TRIAL, *(f"params_{name}" for name in params), *(f"user_attrs_{name}" for name in attrs))

    def rows() -> Iterator[TextRow]:
        for line, trial in enumerate(read.trials, start=1):
            own = (trial.study, trial.number, trial.state, trial.value)
            more = (*(trial.params.get(name) for name in params), *(trial.attrs.get(name) for name in attrs))
            yield TextRow(line, [_written(value) for value in (*own, *more)])

    return RunTable(source, header, rows(), minimize=read.minimize, unit="trial")


def _written(value: Any) -> str:
    return "" if value is None else f"{value:.15g}" if isinstance(value, float) else str(value)
