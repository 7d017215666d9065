"""Measure how sharp a teacher is: the scale of its logits is what a temperature is relative to."""

import numpy as np
import numpy.typing as npt


def logit_spread(logits: npt.NDArray[np.float32]) -> float:
    """Return the standard deviation of the logits over the classes, averaged over all images and views.

    Logits c times as large, distilled at c times the temperature, give the same soft targets.

    Args:
        logits: float, shape (..., classes), before softmax.
    """
    return float(np.std(logits, axis=-1, dtype=np.float64).mean())
