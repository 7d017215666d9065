"""The texts of judgements, one for each possible ending. Imports no pytest.

`tests.support.sweeps.golden_pages` stores them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from sweeps.judge import words
from sweeps.judge.judging import judge
from sweeps.judge.reading import Question, read_runs
from sweeps.judge.tables import read_csv
from sweeps.report import markdown
from tests.support.judged.tables import SCORES, long, table

Scores: TypeAlias = Mapping[str, Sequence[float]]

# The best run of "lucky" is far above the baseline; on average it is no better.
NOISE: Scores = {
    "baseline": (0.910, 0.916, 0.905, 0.912, 0.908),
    "lucky": (0.906, 0.923, 0.903, 0.914, 0.909),
    "worse": (0.880, 0.887, 0.874, 0.880, 0.879),
}


def without(*names: str) -> Scores:
    """Return NOISE without these settings."""
    return {name: values for name, values in NOISE.items() if name not in names}


def by_dataset(scores: Mapping[tuple[str, str], Sequence[float]]) -> str:
    """Return a CSV of the scores by setting and dataset."""
    rows = [(*key, seed, value) for key, values in scores.items() for seed, value in enumerate(values)]
    return table(("setting", "dataset", "seed", "accuracy"), rows)


def seeds_apart(scores: Scores) -> str:
    """Return a CSV in which no two settings share a seed."""
    rows = [
        (name, seed + 10 * place, value)
        for place, (name, values) in enumerate(scores.items())
        for seed, value in enumerate(values)
    ]
    return table(("setting", "seed", "accuracy"), rows)


ONE_IN_COMMON = [*(("base", seed, 0.5 + seed / 100) for seed in range(4)), *(("a", seed, 0.6) for seed in range(3, 7))]
CLOSE = [value + shift for value, shift in zip(SCORES["kd"], (-0.001, 0.001, -0.002, 0.001), strict=True)]
LOSSES = {name: [1 - value for value in values] for name, values in SCORES.items()}
QUESTIONS = range(30)
MANY = {("base", f"q{q}"): (0.5, 0.6) for q in QUESTIONS} | {("a", f"q{q}"): (0.5, q / 30) for q in QUESTIONS}
TWO = {("base", "m"): (0.9, 0.91), ("base", "n"): (0.5, 0.52), ("a", "m"): (0.92, 0.93), ("a", "n"): (0.525, 0.53)}
ELSEWHERE = {("base", "m"): NOISE["baseline"], ("a", "m"): NOISE["worse"], ("b", "n"): (0.9, 0.8)}

JUDGED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "an improvement": (long(), {}),
    "an improvement in percent": (long(), {"percent": True}),
    "an improvement of a loss": (long(LOSSES, score="loss"), {}),
    "an improvement, another setting does as well": (long({**SCORES, "close": CLOSE}), {}),
    "an improvement, another setting has one run": (long({**SCORES, "once": [0.2]}), {}),
    "an improvement, a seed is missing": (long({**SCORES, "kd": SCORES["kd"][:3]}), {}),
    "an improvement without a shared seed": (seeds_apart(SCORES), {}),
    "the best run is luck": (long(NOISE), {}),
    "no worse than a margin": (long(NOISE), {"margin": 0.02}),
    "worse": (long(without("lucky")), {}),
    "one lucky run": (long({**without("lucky"), "once": [0.99]}), {}),
    "one seed": (long({"base": [0.5], "a": [0.9], "b": [0.1]}), {}),
    "more than luck brings": (long({"base": [0.50, 0.52, 0.51], "a": [0.62, 0.55, 0.70]}), {}),
    "an interval above 0 at another level": (long({"base": [0.0] * 4, "a": [1.0, 2.0, 3.2, 1.0]}), {}),
    "the same scores": (long({"base": SCORES["kd"], "a": SCORES["kd"]}), {}),
    "a seed that changes nothing": (long({"base": [0.5] * 3, "a": [0.6] * 3}), {}),
    "one seed in common": (table(("setting", "seed", "accuracy"), ONE_IN_COMMON), {}),
    "two datasets": (by_dataset(TWO | {("b", "m"): (0.91, 0.93)}), {}),
    "many datasets": (by_dataset(MANY), {}),
    "a setting on another dataset alone": (by_dataset(ELSEWHERE), {}),
}


def pages() -> dict[str, str]:
    """Return the judgements, each as its page."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "runs.csv")
        return {"judged.md": "\n".join(f"<!-- {name} -->\n\n{_page(path, *case)}\n" for name, case in JUDGED.items())}


def _page(path: Path, content: str, options: Mapping[str, Any]) -> str:
    path.write_text(content, encoding="utf-8")
    question = Question(**options)
    with read_csv(str(path)) as rows:
        return markdown.text(words.page(judge(read_runs(rows, question), question))).replace(str(path), path.name)
