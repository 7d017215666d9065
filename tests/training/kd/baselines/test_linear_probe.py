"""The linear probe against what logistic regression must give."""

import numpy as np
import pytest

from kd.baselines.pretrained import STRENGTHS, fit_linear, fit_probes

RNG = np.random.default_rng(0)


def clusters(classes: int, each: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Points around one corner of a simplex for each class."""
    labels = np.repeat(np.arange(classes), each)
    return (3 * np.eye(classes)[labels] + RNG.normal(0, 0.3, (len(labels), classes))).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_clusters_apart_from_each_other_are_told_apart(classes: int) -> None:
    train, test = clusters(classes), clusters(classes)
    probes = list(fit_probes(train, test, classes))
    assert [probe.strength for probe in probes] == list(STRENGTHS)
    for probe in probes:
        assert probe.kernel.shape == (classes, classes)
        assert probe.bias.shape == (classes,)
        assert probe.accuracy == 1


def test_without_information_the_probabilities_are_the_frequencies_of_the_classes() -> None:
    labels = np.repeat(np.arange(3), [60, 30, 10])
    features = np.ones((100, 5), np.float32)  # constant: nothing to learn but the bias, which is not regularised
    kernel, bias = fit_linear(features, labels, 3, 0.01)
    logits = features[0] @ kernel + bias
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), [0.6, 0.3, 0.1], atol=1e-3)
