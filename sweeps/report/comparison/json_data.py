"""A comparison as plain values, for other programs: what `compare -f json` prints."""

from dataclasses import asdict
from typing import Any

from sweeps.analysis.compared.compared import Compared
from sweeps.analysis.compared.standings import Number
from sweeps.report.comparison.page import headline
from sweeps.stats.estimates import Estimate


def json_data(found: Compared) -> dict[str, Any]:
    """Return the comparison with the names and the units of `sweeps.analysis.compared`.

    A number that is not there is null; `absent` beside the numbers of a standing says why, by name.
    """
    return {
        "sweeps": list(found.names),
        "pending": list(found.pending),
        "headline": headline(found),
        "standings": [
            {name: getattr(one, name) for name in ("sweep", "role", "dataset", "train_s")}
            | {"point": None if one.point is None else one.point.as_dict()}
            | _numbers(gain=one.gain, tuning=one.tuning, regret=one.regret, test=one.test)
            for one in found.standings
        ],
        "costs": [asdict(one) | {"core_seconds": one.core_seconds} for one in found.costs],
        "pairs": [asdict(one) for one in found.pairs],
        "differing": {one.key: dict(zip(_names(found), one.values, strict=True)) for one in found.differing},
        "answer_hashes": {one.name: one.answer_hash for one in found.sweeps},
    }


def _numbers(**numbers: Number) -> dict[str, Any]:
    known = {name: asdict(value) if isinstance(value, Estimate) else None for name, value in numbers.items()}
    return known | {"absent": {name: str(value) for name, value in numbers.items() if known[name] is None}}


def _names(found: Compared) -> list[str]:
    return [one.name for one in found.sweeps]
