"""Fit the comparison methods, METHODS.

`fit` is the whole interface. Another pretrained network is one more row in `applications.APPLICATIONS`. Importing this
file imports neither Keras nor TensorFlow, AutoKeras or NumPy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kd.baselines.applications import PRETRAINED
from kd.config import BaselineResult
from kd.errors import WeightsNotHere

if TYPE_CHECKING:
    from kd.data.datasets import Dataset


# Called with the fraction done, in [0, 1], and a short text. An exception from it ends the fit.
Progress = Callable[[float, str], None]

# The module with the `fit` of each, imported at its first use: its libraries take seconds to import.
METHODS = {"autokeras": "kd.baselines.autokeras", **dict.fromkeys(PRETRAINED, "kd.baselines.pretrained")}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The limits of a method.

    Attributes:
        trials: models that AutoKeras trains; a pretrained network is one model.
        epochs: per AutoKeras trial, at most; early stopping may end it sooner.
        seconds: wall-clock limit of the whole fit; then the best finished model is the result.
        max_parameters: of an AutoKeras model; a larger proposal is a failed trial. The seconds are checked between
            batches, so a batch must not take minutes: with two million weights, each used at 32 x 32 positions, a
            training image costs 6 GMAC and a batch about 20 s on one core.
        blocks: of AutoKeras, in the order of their first trials; later trials start from the best so far.
    """

    trials: int
    epochs: int
    seconds: float
    max_parameters: int = 2_000_000
    blocks: tuple[str, ...] = ("vanilla", "xception", "resnet")


def fit(
    method: str,
    dataset: Dataset,
    *,
    budget: Budget,
    seed: int,
    work_dir: Path,
    on_progress: Progress = lambda fraction, text: None,
) -> BaselineResult:
    """Fit a comparison method to the training images, select its model on the validation images, and return it.

    The model is a .keras file of plain Keras layers, without an optimizer. It takes images of shape (n, h, w, c), uint8
    or float in 0..255, and returns (n, classes); the largest output is the class. The file was loaded again and gave
    the same predictions.

    Run it in a child process: AutoKeras seeds Python, NumPy and Keras globally and clears Keras' session.

    Args:
        method: a key of METHODS.
        budget: its seconds are checked at every batch.
        seed: of everything random, in [0, 2**32).
        work_dir: folder for temporary files, made if missing; they are removed.

    Raises:
        ModelError: images that it cannot take, or a saved model that predicts something else.
        Unavailable: it cannot run here, or has no model within the budget: why, and what to type.
    """
    try:
        module = importlib.import_module(METHODS[method])
    except ImportError as error:
        extra = "autokeras" if method == "autokeras" else "keras"
        cure = f"pip install 'kd-sweeps[{extra}]'"
        raise WeightsNotHere(f"{method} cannot be imported ({error}); type: {cure}") from error
    work_dir.mkdir(parents=True, exist_ok=True)
    result: BaselineResult = module.fit(
        method, dataset, budget=budget, seed=seed, work_dir=work_dir, on_progress=on_progress
    )
    return result
