"""Optuna studies as a table of runs."""

from collections.abc import Iterator, Sequence
from typing import Any

from storage.errors import UrlError
from storage.studies.foreign import StudyTrials, read_trials
from storage.url import masked, resolve
from sweeps.errors import UnreadableRuns
from sweeps.judge.tables import Row, RunTable

_OWN = ("study", "number", "state", "value")


def read_studies(url: str, studies: Sequence[str]) -> RunTable:
    """Return the trials of some studies as `Study.trials_dataframe` has them, with a column for the study.

    Raises:
        storage.errors.StorageError: nothing is there, or no such study.
        UnreadableRuns: the studies have no trials.
    """
    try:
        checked = resolve(url)
    except UrlError as error:
        raise UrlError(str(error).replace("--storage is", "the URL is", 1)) from None
    read = read_trials(checked, studies)
    source = masked(checked)
    if not read.trials:
        raise UnreadableRuns(f"{source}: the studies have no trials yet")
    params = list(dict.fromkeys(name for trial in read.trials for name in trial.params))
    attrs = list(dict.fromkeys(name for trial in read.trials for name in trial.attrs))
    header = (*_OWN, *(f"params_{name}" for name in params), *(f"user_attrs_{name}" for name in attrs))
    return RunTable(source, header, _rows(read, params, attrs), minimize=read.minimize, unit="trial")


def _rows(read: StudyTrials, params: Sequence[str], attrs: Sequence[str]) -> Iterator[Row]:
    for line, trial in enumerate(read.trials, start=1):
        own = (trial.study, trial.number, trial.state, trial.value)
        searched = (*(trial.params.get(name) for name in params), *(trial.attrs.get(name) for name in attrs))
        yield Row(line, [_text(value) for value in (*own, *searched)])


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.15g}" if isinstance(value, float) else str(value)
