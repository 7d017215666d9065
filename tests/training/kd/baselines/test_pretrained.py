import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd.baselines import methods
from kd.baselines.applications import APPLICATIONS, HDF5_SIGNATURE
from kd.baselines.methods import Budget, fit
from kd.baselines.pretrained import STRENGTHS, fit_linear, fit_probes
from kd.config import BaselineResult, TeacherResult
from kd.data.datasets import Dataset, Split, load
from kd.errors import ModelError, Unavailable
from kd.teachers.train import teach_with
from kd.training.batches import view

BUDGET = Budget(trials=1, epochs=1, seconds=300)


@pytest.fixture(scope="module")
def keras_home(shared_data: Path) -> Path:
    home = shared_data / "keras"
    if not (home / "models" / APPLICATIONS["mobilenet"].weights_file).is_file():
        pytest.skip(f"no ImageNet weights in {home}: set KD_SWEEPS_TEST_DATA to a folder that holds them")
    return home


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits", train_images=200)


@dataclasses.dataclass
class Fitted:
    """MobileNet fitted once to gray images, as the teacher of two views."""

    result: BaselineResult
    taught: TeacherResult
    model: Any  # loaded from its file
    progress: list[tuple[float, str]]
    left: list[Path]  # in the folder for temporary files


@pytest.fixture(scope="module")
def fitted(keras_home: Path, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    import keras

    results, progress = [], []
    folder = tmp_path_factory.mktemp("fitted")

    def watched(*arguments: Any, **more: Any) -> BaselineResult:
        results.append(fit(*arguments, **more))
        return results[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(keras_home))
        patch.setattr(methods, "fit", watched)
        taught = teach_with(
            "mobilenet",
            digits,
            budget=BUDGET,
            seed=5,
            work_dir=folder / "work",
            on_progress=lambda fraction, text: progress.append((fraction, text)),
            views=2,
        )
    (folder / "model.keras").write_bytes(taught.model)
    model = keras.models.load_model(folder / "model.keras")
    return Fitted(results[0], taught, model, progress, list((folder / "work").iterdir()))


def test_frozen_features_of_upscaled_gray_digits_are_read_by_a_linear_classifier(
    fitted: Fitted, keras_home: Path
) -> None:
    result = fitted.result
    assert result.val_accuracy > 0.8
    assert result.parameters == 218_544 + (256 + 1) * 10  # MobileNet 0.25 without its top, and the logits
    assert result.detail == "frozen features, 96 px, uses ImageNet (its classes overlap CIFAR-10's)"
    assert not result.capped
    file = keras_home / "models" / APPLICATIONS["mobilenet"].weights_file
    assert result.provenance["weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert fitted.left == []


def test_the_saved_file_takes_uint8_and_float_and_scores_what_was_reported(fitted: Fitted, digits: Dataset) -> None:
    images = digits.validation.images
    logits = np.asarray(fitted.model(images, training=False))
    assert logits.shape == (len(images), 10)
    assert logits.min() < 0  # logits, not probabilities
    few, more = (fitted.model(batch, training=False) for batch in (images[:8], images[:8].astype(np.float32)))
    np.testing.assert_array_equal(few, more)
    assert np.mean(logits.argmax(axis=-1) == digits.validation.labels) == fitted.result.val_accuracy


def test_the_network_in_the_saved_file_still_has_its_imagenet_weights_and_statistics(
    fitted: Fitted, keras_home: Path
) -> None:
    import keras

    weights = fitted.model.get_layer("mobilenet_0.25_96").get_weights()
    file = keras_home / "models" / APPLICATIONS["mobilenet"].weights_file
    original = keras.applications.MobileNet(
        alpha=0.25, include_top=False, input_shape=(96, 96, 3), weights=str(file)
    ).get_weights()
    assert len(weights) == len(original)
    for weight, original_weight in zip(weights, original, strict=True):
        np.testing.assert_array_equal(weight, original_weight)


def test_as_a_teacher_it_gives_the_logits_of_its_file_for_each_view(fitted: Fitted, digits: Dataset) -> None:
    logits, result = fitted.taught.logits, fitted.taught.result
    assert (logits.shape, logits.dtype) == ((2, 200, 10), np.float32)
    right = [float(np.mean(of_view.argmax(axis=-1) == digits.train.labels)) for of_view in logits]
    assert right[0] > 0.95
    assert right[1] < right[0]  # a view may shift 4 of 8 pixels out
    few = digits.train.images[:8]  # their views are those of the whole dataset
    for number, of_view in enumerate(logits):
        expected = fitted.model(view(few, number), training=False)
        np.testing.assert_allclose(expected, of_view[:8], rtol=1e-4, atol=1e-4)
    assert result.val_accuracy == fitted.result.val_accuracy
    assert result.epoch_val_accuracy == (result.val_accuracy,)
    assert result.cpu_s > fitted.result.cpu_s > 0
    assert result.train_s > fitted.result.train_s > 0


def test_progress_rises_monotonically_from_0_to_1(fitted: Fitted) -> None:
    fractions = [fraction for fraction, _ in fitted.progress]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert fitted.progress[-1][1] == "logits of view 2 of 2"


@pytest.mark.parametrize("classes", [2, 4])
def test_the_standardisation_is_folded_into_the_logits(classes: int) -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(0)
    labels = np.arange(300) % classes
    features = (random.normal(size=(300, 6)) * [1, 10, 100, 1, 1, 0] + 5).astype(np.float32)  # last: constant
    features[:, :4] += 2 * np.eye(4, dtype=np.float32)[labels] * [1, 10, 100, 1]
    kernel, bias = fit_linear(features, labels, classes, 0.1)
    assert kernel.shape == (6, classes)
    scale = np.where(features.std(axis=0) > 1e-6, features.std(axis=0), 1)
    standardised = (features - features.mean(axis=0)) / scale
    classifier = LogisticRegression(C=0.1, max_iter=1000).fit(standardised, labels)
    logits = features @ kernel + bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, classifier.predict_proba(standardised), atol=1e-3)


@pytest.mark.parametrize("classes", [2, 4])
def test_separable_clusters_are_separated_with_every_strength(classes: int) -> None:
    random, labels = np.random.default_rng(0), np.repeat(np.arange(classes), 50)
    corners = 3 * np.eye(classes)[labels]
    train, test = ((corners + random.normal(0, 0.3, corners.shape)).astype(np.float32) for _ in range(2))
    probes = list(fit_probes((train, labels), (test, labels), classes))
    assert [probe.strength for probe in probes] == list(STRENGTHS)
    for probe in probes:
        assert (probe.kernel.shape, probe.bias.shape, probe.accuracy) == ((classes, classes), (classes,), 1)


def test_an_exception_of_on_progress_ends_the_fit(
    digits: Dataset, keras_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(keras_home))

    def lost(fraction: float, text: str) -> None:
        if fraction > 0:
            raise RuntimeError("the lease is lost")

    with pytest.raises(RuntimeError, match="the lease is lost"):
        fit("mobilenet", digits, budget=BUDGET, seed=0, work_dir=tmp_path, on_progress=lost)


def test_a_timeout_reports_the_progress_and_what_to_change(
    digits: Dataset, keras_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(keras_home))
    with pytest.raises(Unavailable, match=r"features of 64 of 559 images.*more seconds"):
        fit("mobilenet", digits, budget=dataclasses.replace(BUDGET, seconds=1e-6), seed=0, work_dir=tmp_path)


def test_a_damaged_weights_file_is_named_with_what_to_type(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / APPLICATIONS["mobilenet"].weights_file
    damaged.write_bytes(HDF5_SIGNATURE + bytes(200_000))
    monkeypatch.setenv("KD_SWEEPS_WEIGHTS", str(tmp_path))
    with pytest.raises(Unavailable, match=r"mobilenet_2_5_224_tf_no_top\.h5 is not a valid.*KD_SWEEPS_WEIGHTS=DIR"):
        fit("mobilenet", digits, budget=BUDGET, seed=0, work_dir=tmp_path)


def test_images_with_two_channels_are_refused(tmp_path: Path) -> None:
    split = Split(np.zeros((4, 8, 8, 2), np.uint8), np.arange(4) % 2)
    two = Dataset(name="two", train=split, validation=split, classes=2, content_hash="", split_hash="", origin="")
    with pytest.raises(ModelError, match="1 or 3 channels, two has 2"):
        fit("mobilenet", two, budget=BUDGET, seed=0, work_dir=tmp_path)
