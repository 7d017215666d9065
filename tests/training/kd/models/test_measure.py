"""kd.models.measure: counts derived by hand, and measurements of real models."""

import keras
import numpy as np
import pytest
from keras import layers

import kd.models.measure
from kd.data.datasets import Split
from kd.models.files import to_bytes
from kd.models.measure import ModelFile, count_macs, measure
from kd.models.named import build
from tests.support.sweeps.in_process import jobs_in_process

RNG = np.random.default_rng(0)
TEST = Split(RNG.integers(0, 256, (300, 8, 8, 1), dtype=np.uint8), RNG.integers(0, 3, 300))


@pytest.fixture
def in_process():
    """Score models in this process."""
    with jobs_in_process("kd.models.measure"):
        yield


def test_macs_of_the_keras_io_student_match_those_by_hand():
    first = 14 * 14 * 16 * (3 * 3 * 1)
    second = 7 * 7 * 32 * (3 * 3 * 16)
    dense = 7 * 7 * 32 * 10
    assert count_macs(build("keras-student", (28, 28, 1), 10, seed=0)) == first + second + dense


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (layers.Conv2D(6, 3, groups=2), 6 * 6 * 6 * (3 * 3 * 2)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), 6 * 6 * 8 * (3 * 3)),
        (layers.DepthwiseConv2D(3, strides=2, padding="same"), 4 * 4 * 4 * 9),  # the positions of the output count
        (layers.DepthwiseConv2D(3, dilation_rate=2), 4 * 4 * 4 * 9),
        (layers.SeparableConv2D(5, 3), 6 * 6 * (4 * 3 * 3 + 4 * 5)),
        (layers.SeparableConv2D(5, 3, strides=2, padding="same"), 4 * 4 * (4 * 9 + 4 * 5)),
        (layers.SeparableConv2D(5, 3, depth_multiplier=2), 6 * 6 * (4 * 2 * 9 + 4 * 2 * 5)),
        (layers.Dense(5), 8 * 8 * 4 * 5),  # once per position
        (layers.BatchNormalization(), 0),
        (layers.MaxPooling2D(), 0),
        (layers.Dropout(0.5), 0),
        (layers.Conv2DTranspose(5, 3), None),
    ],
)
def test_macs_by_kind_of_layer(layer, macs):
    assert count_macs(keras.Sequential([keras.Input((8, 8, 4)), layer])) == macs


def test_macs_reach_into_nested_models():
    inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(4, 3)])
    outer = keras.Sequential([keras.Input((8, 8, 1)), inner, layers.Flatten(), layers.Dense(3)])
    assert count_macs(outer) == 6 * 6 * 4 * 9 + 6 * 6 * 4 * 3


def test_macs_of_unknown_shapes_are_unknown():
    assert count_macs(keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3)])) is None


def test_several_models_are_measured_and_scored(in_process):
    models = {name: build(name, (8, 8, 1), 3, seed=1) for name in ("keras-student", "cnn-small-narrow")}
    files = {name: ModelFile(model=to_bytes(model), test=TEST) for name, model in models.items()}
    measurements = measure(files, rounds=2)
    assert list(measurements) == list(models)
    for name, model in models.items():
        measured = measurements[name]
        assert (measured.name, measured.parameters) == (name, model.count_params())
        assert measured.bytes == len(files[name].model)
        assert measured.macs == count_macs(model)
        assert 0 < measured.latency_ms_p50 <= measured.latency_ms_p95
        assert measured.images_per_s > 0
        assert (measured.int8_bytes, measured.int8_test_accuracy, measured.int8_test_images) == (None, None, 0)
        assert measured.int8_reason == "no images to calibrate it with"
        # 300 images: one full batch and a part of a second
        scores = model.predict_on_batch(TEST.images)
        assert measured.test_accuracy == pytest.approx((scores.argmax(axis=-1) == TEST.labels).mean())


def test_fewer_test_images_than_one_batch_are_each_counted_once(in_process):
    model = build("keras-student", (8, 8, 1), 3, seed=1)
    few = Split(TEST.images[:7], model.predict_on_batch(TEST.images[:7]).argmax(axis=-1))
    few.labels[0] = (few.labels[0] + 1) % 3
    measured = measure({"few": ModelFile(model=to_bytes(model), test=few)}, rounds=1)["few"]
    assert measured.test_accuracy == pytest.approx(6 / 7)


def test_a_model_that_takes_float_images_is_fed_the_same_uint8(in_process):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(3)])
    measured = measure({"float": ModelFile(model=to_bytes(model), test=TEST)}, rounds=1)["float"]
    scores = model.predict_on_batch(TEST.images)
    assert measured.test_accuracy == pytest.approx((scores.argmax(axis=-1) == TEST.labels).mean())


OWN = """
import keras

@keras.saving.register_keras_serializable()
class Double(keras.layers.Layer):
    def call(self, x):
        return 2.0 * x

def build(shape, classes):
    layers = [keras.layers.Flatten(), Double(), keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input(shape), *layers])
"""


def test_a_child_scores_models_in_int8_with_users_layers_and_an_answer_for_each(tmp_path, monkeypatch):
    (tmp_path / "own_doubling.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    model = build("own_doubling:build", (8, 8, 1), 3, seed=1)
    test = Split(TEST.images, model.predict_on_batch(TEST.images).argmax(axis=-1))
    of_own = {"model": to_bytes(model), "test": test, "builder": "own_doubling:build"}
    images = keras.Input((8, 8, 1))
    inverse = keras.Model(images, layers.Flatten()(keras.ops.inv(layers.Reshape((8, 8))(images))))  # has no int8 form
    calibration = TEST.images[:100]
    files = {
        "three channels": ModelFile(**of_own, calibration=np.zeros((10, 8, 8, 3), np.uint8)),
        "own": ModelFile(**of_own, calibration=calibration),
        "inverse": ModelFile(model=to_bytes(inverse), test=test, calibration=calibration),
    }
    measured = measure(files, rounds=1)
    assert list(measured) == list(files)
    own = measured.pop("own")
    assert (own.parameters, own.macs, own.int8_reason) == (195, 192, "")
    assert (own.test_accuracy, own.int8_test_images) == (1.0, 300)
    assert own.int8_test_accuracy > 0.95
    assert own.int8_bytes < own.bytes
    assert measured["three channels"].test_accuracy == 1.0
    for failed in measured.values():
        assert (failed.int8_bytes, failed.int8_test_accuracy, failed.int8_test_images) == (None, None, 0)
        assert 0 < len(failed.int8_reason) <= 200
        assert "\n" not in failed.int8_reason


def test_a_large_model_is_scored_in_int8_on_images_spread_over_all_of_them(monkeypatch, in_process):
    monkeypatch.setattr(kd.models.measure, "INT8_IMAGES", 30)
    monkeypatch.setattr(kd.models.measure, "INT8_MACS", 1)
    model = build("keras-student", (8, 8, 1), 3, seed=1)
    labels = model.predict_on_batch(TEST.images).argmax(axis=-1)
    labels[150:] = (labels[150:] + 1) % 3  # right in the first half only
    file = ModelFile(model=to_bytes(model), test=Split(TEST.images, labels), calibration=TEST.images[:100])
    measured = measure({"large": file}, rounds=1)["large"]
    assert measured.int8_test_images == 30
    assert measured.int8_test_accuracy == pytest.approx(0.5, abs=0.05)
