"""Specs of the trainer "custom", and the smallest trainings that they name. Imports no pytest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeps.custom.spec import CustomSpec
from sweeps.spec.model import parse

SPACE: dict[str, Any] = {"temperature": {"low": 1.0, "high": 20.0, "log": True}, "alpha": [0.0, 1.0]}
DEFAULT = {"temperature": 3.0, "alpha": 0.5}

# A smooth score with a little noise from the seed, a file for the test, and a curve of three values.
TRAIN = """
import math, random

def train(temperature, alpha, *, seed, dataset, folder, report):
    luck = random.Random(seed).gauss(0, 0.002)
    score = 0.9 - 0.02 * math.log(temperature / 4) ** 2 - 0.1 * (alpha - 0.3) ** 2 + luck
    for epoch in range(3):
        report((epoch + 1) / 3, validation=score * (epoch + 1) / 3)
    (folder / "score").write_text(repr(score))
    return {"validation": score, "size": 1000 + round(temperature), "agreement": alpha}

def test(*, dataset, seed, folder):
    return float((folder / "score").read_text()) - 0.01
"""


def write(path: Path, text: str) -> Path:
    """Write an executable program."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def values(trainer: Mapping[str, Any], **tables: Any) -> dict[str, Any]:
    """Return the values of a small spec: four trials, three searches, one dataset, gains counted from alpha = 1."""
    defaults = {"kind": "custom", "untreated": {"alpha": 1.0}, "space": SPACE, "defaults": {"default": DEFAULT}}
    base = {
        "trainer": defaults | dict(trainer),
        "source": {"dataset": "here"},
        "search": {"trials": 4, "sampler": "qmc"},
        "confirm": {"rounds": [[2, 1]]},
        "transfer": {"seeds": 2},
        "outer": {"searches": 3},
    }
    return base | tables


def spec(trainer: Mapping[str, Any], **tables: Any) -> CustomSpec:
    custom_spec = parse(values(trainer, **tables), new=True)
    assert isinstance(custom_spec, CustomSpec)
    return custom_spec
