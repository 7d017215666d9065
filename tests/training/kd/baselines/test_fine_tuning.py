import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from kd.baselines import pretrained
from kd.baselines.applications import APPLICATIONS
from kd.baselines.methods import Budget, fit
from kd.baselines.pretrained import PATIENCE, ROUNDS, Tuned, tune
from kd.data.datasets import load

RANDOM = np.random.default_rng(0)
CENTRES = 4 * np.eye(3, 8, dtype=np.float32)
LABELS = np.arange(330) % 3
INPUTS = CENTRES[LABELS] + RANDOM.normal(size=(330, 8)).astype(np.float32)
TRAIN, VALIDATION = (INPUTS[:300], LABELS[:300]), (INPUTS[300:], LABELS[300:])


@pytest.fixture
def classifier() -> keras.Model:
    """Return two dense layers with normalization and dropout between them, initialized by a fixed seed."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16), keras.layers.BatchNormalization(name="norm"), keras.layers.ReLU()]
    return keras.Sequential([keras.Input((8,)), *layers, keras.layers.Dropout(0.5), keras.layers.Dense(3)])


def tuned(
    classifier: keras.Model,
    train: tuple[np.ndarray, np.ndarray] = TRAIN,
    *,
    seed: int = 0,
    seconds: float = 300,
    on_batch: Callable[[float, str], None] = lambda fraction, text: None,
) -> Tuned:
    deadline = time.perf_counter() + seconds
    return tune(classifier, train, VALIDATION, seed=seed, deadline=deadline, on_batch=on_batch)


@pytest.fixture(autouse=True)
def _faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "LEARNING_RATE", 1e-3)


def accuracy(classifier: keras.Model) -> float:
    return float(np.mean(classifier.predict(VALIDATION[0], verbose=0).argmax(axis=-1) == VALIDATION[1]))


def test_it_ends_with_the_best_weights_and_frozen_batchnorm_statistics(
    classifier: keras.Model,
) -> None:
    before, norm = accuracy(classifier), classifier.get_layer("norm")
    gamma, _, mean, variance = (np.array(weight) for weight in norm.weights)
    fractions: list[float] = []
    tuning = tuned(classifier, on_batch=lambda fraction, text: fractions.append(fraction))
    assert tuning.accuracy == accuracy(classifier) > before
    assert not tuning.capped
    rounds, remainder = divmod(tuning.epochs, 11)  # 11 times 300 images are 51 batches
    assert rounds in range(1, ROUNDS + 1)
    assert remainder == 0
    assert fractions == sorted(fractions)
    assert len(fractions) == 51 * min(rounds + PATIENCE, ROUNDS)
    assert fractions[-1] <= 1
    assert not np.array_equal(norm.gamma, gamma)
    np.testing.assert_array_equal(norm.moving_mean, mean)
    np.testing.assert_array_equal(norm.moving_variance, variance)

    best, wrong = classifier.get_weights(), (TRAIN[0], (TRAIN[1] + 1) % 3)
    assert tuned(classifier, wrong) == Tuned(accuracy=accuracy(classifier), epochs=0, capped=False)
    for weight, best_weight in zip(classifier.get_weights(), best, strict=True):
        np.testing.assert_array_equal(weight, best_weight)


def test_a_seed_gives_the_same_bits_again_and_another_seed_others(
    classifier: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "ROUNDS", 1)
    start, results = classifier.get_weights(), []
    for seed in (1, 1, 2):
        classifier.set_weights(start)
        tuned(classifier, seed=seed)
        results.append([weight.tobytes() for weight in classifier.get_weights()])
    assert results[0] == results[1] != results[2]


def test_at_the_deadline_the_best_complete_epoch_is_kept(classifier: keras.Model) -> None:
    start = classifier.get_weights()
    result = tuned(classifier, seconds=0)
    assert result == Tuned(accuracy=accuracy(classifier), epochs=0, capped=True)
    for weight, start_weight in zip(classifier.get_weights(), start, strict=True):
        np.testing.assert_array_equal(weight, start_weight)


def test_an_exception_of_on_batch_ends_the_tuning(classifier: keras.Model) -> None:
    def lost(fraction: float, text: str) -> None:
        raise RuntimeError("the lease is lost")

    with pytest.raises(RuntimeError, match="the lease is lost"):
        tuned(classifier, on_batch=lost)


@pytest.mark.slow
def test_the_last_stage_of_a_network_is_trained_without_its_statistics(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_WEIGHTS", str(shared_data / "keras"))
    monkeypatch.setattr(pretrained, "LEARNING_RATE", 3e-4)
    monkeypatch.setattr(pretrained, "ROUNDS", 3)
    digits, application = load("digits", train_images=200), APPLICATIONS["mobilenet"]
    budget = Budget(trials=1, epochs=1, seconds=300)
    fractions: list[float] = []
    result = fit(
        "mobilenet-tuned",
        digits,
        budget=budget,
        seed=5,
        work_dir=tmp_path / "work",
        on_progress=lambda fraction, text: fractions.append(fraction),
    )
    assert fractions == sorted(fractions)
    assert list((tmp_path / "work").iterdir()) == []
    assert result.detail.startswith("last stage tuned, ")

    path = tmp_path / "model.keras"
    path.write_bytes(result.model)
    model = keras.models.load_model(path)
    scored = np.mean(model.predict(digits.validation.images, verbose=0).argmax(axis=-1) == digits.validation.labels)
    assert scored == result.val_accuracy
    assert result.val_accuracy > fit("mobilenet", digits, budget=budget, seed=5, work_dir=tmp_path).val_accuracy

    network = model.get_layer("mobilenet_0.25_96")
    original = keras.applications.MobileNet(
        alpha=0.25,
        include_top=False,
        pooling="avg",
        input_shape=(96, 96, 3),
        weights=str(shared_data / "keras" / "models" / application.weights_file),
    )
    names = [layer.name for layer in original.layers]
    changed = {
        (layer.name, weight.name)
        for layer, tuned_layer in zip(original.layers, network.layers, strict=True)
        for weight, tuned_weight in zip(layer.weights, tuned_layer.weights, strict=True)
        if not np.array_equal(weight, tuned_weight)
    }
    first = names.index(application.frozen_until) + 1
    assert changed == {
        (name, weight.name)
        for name in names[first:]
        for weight in original.get_layer(name).weights
        if not weight.name.startswith("moving_")
    }
