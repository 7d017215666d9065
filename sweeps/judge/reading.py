"""Turn a table into runs: assign columns, select rows, and refuse bad input before showing any number."""

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeps.errors import SpecError, UnreadableRuns
from sweeps.judge import forms
from sweeps.judge.forms import Form
from sweeps.judge.tables import RunTable, TextRow
from sweeps.stats.baseline import Scores
from sweeps.terminal import joined, truncated

_LISTED = 8  # names in a message
_TEXT = 60  # characters of one of them
_MOST = 1e100  # of a score, whose square must fit into a float


@dataclass(frozen=True, kw_only=True)
class Question:
    """The user's options; "" and () are to be recognised.

    score, seed, dataset, settings: columns. baseline: a setting. minimize: None if the score's name decides. margin:
    allowed loss, in the unit of the scores. percent: whether to display fractions in percent.
    """

    score: str = ""
    seed: str = ""
    dataset: str = ""
    settings: tuple[str, ...] = ()
    baseline: str = ""
    minimize: bool | None = None
    margin: float | None = None
    percent: bool = False


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs of a table.

    score, seed, dataset, columns: the columns used; columns define a setting. scores: as in the file, of each setting
    by dataset and seed. rows: number read. unfinished: number of unfinished runs left out, by state. unscored: finished
    runs without a score. repeated: repeated rows.
    """

    source: str
    form: str
    score: str
    seed: str
    dataset: str
    columns: tuple[str, ...]
    scores: dict[str, Scores]
    minimize: bool
    percent: bool
    rows: int = 0
    unfinished: dict[str, int] = field(default_factory=dict)
    unscored: int = 0
    repeated: int = 0


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Columns by role. is_chosen: whether those of settings are certain, not candidates."""

    score: str
    seed: str
    dataset: str
    settings: tuple[str, ...]
    is_chosen: bool


def read_runs(table: RunTable, question: Question) -> Runs:
    """Return the runs of a table.

    Raises:
        SpecError: an option names no column, or is needed.
        UnreadableRuns: a row is not a run; the message names line and column.
    """
    form = forms.form_of(table.header)
    if form is forms.LONG and forms.is_chart(table.header):
        raise UnreadableRuns(
            f"{table.source} is a chart of W&B, a row for each step; export its runs table: the table icon, then Export"
        )
    columns = _columns(table, form, question)
    if form.directionless and columns.score in form.scores and question.minimize is None and table.minimize is None:
        raise SpecError(
            f"{table.source}: an exported study does not say whether lower values are better; add --minimize or"
            " --maximize"
        )
    reader = _Reader(table, form, columns)
    for row in table.rows:
        reader.add(row)
    return reader.runs(question)


def _columns(table: RunTable, form: Form, question: Question) -> _Columns:
    header = table.header
    settings = tuple(dict.fromkeys(_named(table, "--setting", name) for name in question.settings))
    score = _named(table, "--score", question.score) if question.score else ""
    seed = _named(table, "--seed", question.seed) if question.seed else ""
    dataset = _named(table, "--dataset", question.dataset) if question.dataset else ""
    taken: dict[str, str] = dict.fromkeys(settings, "--setting")
    for option, column in (("--score", score), ("--seed", seed), ("--dataset", dataset)):
        if column and (other := taken.setdefault(column, option)) != option:
            raise SpecError(f"{other} and {option}: both got {column!r}; name two columns, of {listed(header)}")
    left = [column for column in header if not forms.is_own(form, column) and column not in taken]
    seed = seed or _seed(table, left)
    left = [column for column in left if column != seed]
    dataset = dataset or _first(left, forms.DATASET)
    left = [column for column in left if column != dataset]
    score = score or _score(table, form, left)
    left = [column for column in left if column != score]
    for option, column in (("--score", score), ("--seed", seed), ("--dataset", dataset)):
        if column and header.count(column) > 1:
            raise SpecError(
                f"{table.source} has {header.count(column)} columns {column!r}; rename all but one ({option})"
            )
    if settings:
        return _Columns(score=score, seed=seed, dataset=dataset, settings=settings, is_chosen=True)
    measured = tuple(filter(None, form.scores))
    by_name = _first([column for column in left if not column.startswith(measured)], forms.SETTING)
    if by_name:
        both = ("sweep", by_name) if "sweep" in left and form.only[0] else (by_name,)
        return _Columns(score=score, seed=seed, dataset=dataset, settings=both, is_chosen=True)
    candidates = tuple(column for column in left if forms.may_be_setting(form, column) and header.count(column) == 1)
    if form.unnamed or not candidates:
        why = f"{form.name} does not say which columns are settings" if form.unnamed else "no column names a setting"
        hint = candidates or tuple(left)
        raise SpecError(f"{table.source}: {why}; name them, --setting repeated for several; columns: {listed(hint)}")
    return _Columns(score=score, seed=seed, dataset=dataset, settings=candidates, is_chosen=False)


def _seed(table: RunTable, columns: Sequence[str]) -> str:
    seed = _first(columns, forms.SEED)
    if not seed:
        raise SpecError(
            f"{table.source} has no column seed; name it with --seed, or add one: runs of one seed are compared in"
            f" pairs; columns: {listed(columns)}"
        )
    return seed


def _score(table: RunTable, form: Form, columns: Sequence[str]) -> str:
    scored = [column for column in dict.fromkeys(columns) if column.startswith(tuple(form.scores))]
    if any(form.scores) and len(scored) == 1:
        return scored[0]
    known = [column for column in scored if any(form.scores) or forms.plain_name(column) in forms.SCORE]
    if len(known) == 1:
        return known[0]
    if known:
        raise SpecError(f"{table.source} has {len(known)} columns of scores; name one: --score, of {listed(known)}")
    unknown = [column for column in scored if forms.plain_name(column) not in (*forms.SETTING, *forms.SEED)]
    if len(unknown) == 1:
        return unknown[0]
    raise SpecError(
        f"{table.source}: no column is recognised as a score; a row is one run, so name it with --score, of"
        f" {listed(unknown or columns)}"
    )


def _first(columns: Iterable[str], names: Sequence[str]) -> str:
    """Return the first column with the earliest of these names, or ""."""
    by_name = {forms.plain_name(column): column for column in reversed([*columns]) if column}
    return next((by_name[name] for name in names if name in by_name), "")


def _named(table: RunTable, option: str, name: str) -> str:
    """Return the column that a user named with or without its prefix."""
    if name in table.header:
        return name
    like = [column for column in table.header if column and forms.plain_name(column) == name.strip().lower()]
    if len(like) == 1:
        return like[0]
    near = difflib.get_close_matches(name, [column for column in table.header if column], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    which = f"several columns are {name!r}" if like else f"{table.source} has no column {name!r}"
    raise SpecError(f"{option}: {which}; {hint}columns: {listed(like or table.header)}")


def listed(names: Iterable[str]) -> str:
    """Return the first few names for a message."""
    known = [truncated(name, _TEXT) for name in names if name]
    more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    # A setting of several columns contains commas: lr=0.1, depth=2.
    return f"{('; ' if any(', ' in name for name in known) else ', ').join(known[:_LISTED])}{more}"


class _Reader:
    """Collect setting, dataset, seed and score of the rows."""

    def __init__(self, table: RunTable, form: Form, columns: _Columns) -> None:
        self._table, self._form, self._columns = table, form, columns
        at = table.header.index
        self._settings = [at(column) for column in columns.settings]
        self._seed, self._score = at(columns.seed), at(columns.score)
        self._dataset = at(columns.dataset) if columns.dataset else None
        # The unnamed column of pandas' index is not the state of a form without one.
        self._state = at(form.state) if form.state and form.state in table.header else None
        self._only = at(form.only[0]) if form.only[0] else None
        self._texts: dict[str, str] = {}  # each text once for all rows
        self._rows: list[tuple[tuple[str, ...], str, str, float, int]] = []
        self._unfinished: Counter[str] = Counter()
        self._unscored = self._read = 0

    def add(self, row: TextRow) -> None:
        cells = row.cells
        if self._only is not None and cells[self._only] != self._form.only[1]:
            return
        self._read += 1
        if self._state is not None and (state := cells[self._state].strip()) not in self._form.finished:
            self._unfinished[state or "no state"] += 1
            return
        score = self._number(row)
        if score is None:
            self._unscored += 1
            return
        seed = self._text(cells[self._seed])
        if not seed:
            raise UnreadableRuns(f"{self._where(row, self._columns.seed)}: empty; every run needs its seed")
        dataset = "" if self._dataset is None else self._text(cells[self._dataset])
        setting = tuple(self._text(cells[place]) for place in self._settings)
        if not any(setting):
            raise UnreadableRuns(
                f"{self._where(row, listed(self._columns.settings))}: empty; which setting is this run?"
            )
        self._rows.append((setting, dataset, seed, score, row.line))

    def runs(self, question: Question) -> Runs:
        if not self._rows:
            self._refuse_nothing()
        names, name_of = self._names()
        scores: dict[str, dict[tuple[str, str], float]] = {}
        lines: dict[tuple[str, str, str], int] = {}
        repeated = 0
        for setting, dataset, seed, score, line in self._rows:
            name = name_of(setting)
            runs, first = scores.setdefault(name, {}), lines.setdefault((name, dataset, seed), line)
            if first == line:
                runs[dataset, seed] = score
            elif runs[dataset, seed] == score:
                repeated += 1
            else:
                unit, other = self._table.unit, runs[dataset, seed]
                run = f"{name}{f' on {dataset}' if dataset else ''} with seed {seed}"
                raise UnreadableRuns(
                    f"{self._table.source}, {unit} {line}: {run} is there twice, {other:g} in {unit} {first} and"
                    f" {score:g} here; name every column that makes a setting (--setting), or drop one row"
                )
        columns, score_name = self._columns, self._columns.score
        if forms.is_share(score_name):
            self._refuse_two_units(scores)
        return Runs(
            source=self._table.source,
            form=self._form.name,
            score=score_name,
            seed=columns.seed,
            dataset=columns.dataset,
            columns=names,
            scores=dict(scores),
            minimize=next(
                known
                for known in (question.minimize, self._table.minimize, forms.is_lower_better(score_name))
                if known is not None
            ),
            percent=question.percent or (score_name in self._form.percent and self._are_fractions(scores)),
            rows=self._read,
            unfinished=dict(self._unfinished),
            unscored=self._unscored,
            repeated=repeated,
        )

    @staticmethod
    def _are_fractions(scores: Mapping[str, Scores]) -> bool:
        # A custom training's scores of any kind are in the same columns.
        return all(0 <= score <= 1 for runs in scores.values() for score in runs.values())

    def _refuse_two_units(self, scores: Mapping[str, Scores]) -> None:
        # Only whole settings, whose scores vary: in percent, a run at chance level may have less than 1.
        values = {name: sorted(runs.values()) for name, runs in scores.items()}
        fractions = {name: known for name, known in values.items() if 0 < known[0] < known[-1] <= 1}
        percent = {name: known for name, known in values.items() if 1 < known[0] <= known[-1] <= 100}
        for name, known in fractions.items():
            for other, large in percent.items():
                if 2 * 100 * known[0] > large[0]:
                    raise UnreadableRuns(
                        f"{self._table.source}, column {self._columns.score}: {truncated(name, _TEXT)} has fractions,"
                        f" such as {known[0]:g}, and {truncated(other, _TEXT)} percentages, such as {large[0]:g}; write"
                        " all in one unit"
                    )

    def _refuse_nothing(self) -> None:
        source = self._table.source
        if self._unfinished:
            states = ", ".join(f"{count} {state}" for state, count in self._unfinished.items())
            finished = joined(filter(None, self._form.finished), "or")
            raise UnreadableRuns(f"{source}: no run has ended ({states}); a run counts once it is {finished}")
        if self._unscored:
            raise UnreadableRuns(
                f"{source}: the column {self._columns.score} is empty in every run; name another: --score"
            )
        raise UnreadableRuns(f"{source}: no row with {self._form.only[0]} {self._form.only[1]!r} yet")

    def _names(self) -> tuple[tuple[str, ...], Callable[[tuple[str, ...]], str]]:
        """Return the columns that distinguish settings, and how to name a setting.

        Drop columns with one value, and candidates that distinguish no further settings. Ask the user if every run
        would be its own setting although seeds differ: then one of the columns names runs.
        """
        columns = self._columns.settings
        kept = [place for place in range(len(columns)) if self._distinct(place) > 1] or [0]
        if not self._columns.is_chosen:
            kept, groups = [], 1
            for place in range(len(columns)):
                more = len({tuple(row[0][each] for each in (*kept, place)) for row in self._rows})
                if more > groups:
                    kept, groups = [*kept, place], more
            seeds = {row[2] for row in self._rows}
            if groups == len(self._rows) > 2 and len(seeds) > 1:
                some = [
                    column for place, column in enumerate(columns) if 1 < self._distinct(place) <= len(self._rows) / 2
                ]
                names = listed(columns[place] for place in kept)
                raise SpecError(
                    f"{self._table.source}: by {names} every run is its own setting; name the columns of a setting"
                    f" with --setting; columns: {listed(some or columns)}"
                )
            kept = kept or [0]
        chosen = tuple(columns[place] for place in kept)
        if len(kept) == 1:
            return chosen, lambda setting: setting[kept[0]] or "none"
        labels = [forms.label(column) for column in chosen]
        labels = labels if len(set(labels)) == len(labels) else list(chosen)

        def name_of(setting: tuple[str, ...]) -> str:
            return ", ".join(f"{label}={setting[place] or 'none'}" for label, place in zip(labels, kept, strict=True))

        return chosen, name_of

    def _distinct(self, place: int) -> int:
        return len({row[0][place] for row in self._rows})

    def _text(self, cell: str) -> str:
        known = self._texts.get(cell)
        if known is None:
            known = self._texts[cell] = self._table.text(cell)
        return known

    def _number(self, row: TextRow) -> float | None:
        """Return the score of a row; None if its cell is empty."""
        cell = row.cells[self._score].strip()
        if not cell or cell in ("-", "None"):
            return None
        try:
            value = float(cell) if "_" not in cell else math.nan
        except ValueError:
            try:
                value = float(self._table.text(cell))
            except ValueError:
                raise UnreadableRuns(
                    f"{self._where(row, self._columns.score)}: got {cell[:40]!r}, not a number; write it as 0.93, or"
                    " leave it empty if the run has no score"
                ) from None
        if _MOST < abs(value) < math.inf:
            raise UnreadableRuns(
                f"{self._where(row, self._columns.score)}: got {cell[:40]!r}; allowed: from -{_MOST:g} to {_MOST:g}"
            )
        if not math.isfinite(value):
            raise UnreadableRuns(
                f"{self._where(row, self._columns.score)}: got {cell[:40]!r}; a run that diverged counts: give it the"
                " score that it deserves, such as chance level, or leave its seed out of every setting"
            )
        return value

    def _where(self, row: TextRow, column: str) -> str:
        return f"{self._table.source}, {self._table.unit} {row.line}, column {column}"
