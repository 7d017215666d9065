"""Fit a linear classifier to fixed features: L2-regularised logistic regression at several strengths.

Source: linear evaluation as in Kornblith et al. 2019, arXiv:1805.08974, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["STRENGTHS", "LinearProbe", "fit_linear", "fit_probes"]

# Inverse regularisation strength C of the logistic regression, on standardised features.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1)

Floats: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """A linear classifier: logits = features @ kernel + bias.

    Attributes:
        kernel, bias: shapes (d, classes) and (classes,).
        strength: C, of STRENGTHS.
        accuracy: on the validation features, a fraction in [0, 1].
    """

    kernel: Floats
    bias: Floats
    strength: float
    accuracy: float


def fit_probes(train: tuple[Floats, Labels], validation: tuple[Floats, Labels], classes: int) -> Iterator[LinearProbe]:
    """Yield one classifier per strength, the most regularised first, so that `max` by accuracy prefers it among equals.

    Args:
        train, validation: features, shape (n, d), and labels, shape (n,), in 0..classes-1.
        classes: >= 2; every one occurs in the training labels.
    """
    for strength in STRENGTHS:
        kernel, bias = fit_linear(*train, classes, strength)
        accuracy = float(np.mean((validation[0] @ kernel + bias).argmax(axis=-1) == validation[1]))
        yield LinearProbe(kernel=kernel, bias=bias, strength=strength, accuracy=accuracy)


def fit_linear(features: Floats, labels: Labels, classes: int, strength: float) -> tuple[Floats, Floats]:
    """Return the kernel (d, classes) and the bias (classes,) of a multinomial logistic regression.

    Args:
        features: shape (n, d), raw; they are standardised here, and kernel and bias include the standardisation.
        labels: shape (n,), in 0..classes-1; every class occurs.
        classes: >= 2.
        strength: sklearn's C, > 0; larger means less regularisation.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0  # a constant feature
    # One thread: these products are small, and two threads beside a busy process took 20 times longer (measured).
    with threadpool_limits(limits=1, user_api="blas"):
        solver = LogisticRegression(C=strength, max_iter=1000).fit((features - mean) / scale, labels)
    weights, bias = solver.coef_, solver.intercept_  # (classes, d), (classes,)
    if classes == 2:  # sklearn gives one row: the logit of class 1 against class 0
        weights, bias = np.vstack([0 * weights, weights]), np.concatenate([0 * bias, bias])
    weights = weights / scale
    return weights.T.astype(np.float32), (bias - weights @ mean).astype(np.float32)
