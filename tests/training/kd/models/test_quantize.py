"""kd.models.quantize: real conversions, scored against the float model, and models that cannot be converted."""

import multiprocessing
import os
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from keras import layers

import kd.models.quantize
from kd.data.datasets import Split
from kd.models.named import build
from kd.models.quantize import ModelFile, measure_int8, quantize, score
from kd.tools.processes import run_in_subprocess
from tests.support.processes import command_of, descendants, is_alive

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 8, 8, 1), dtype=np.uint8)


def saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return (tmp_path / "model.keras").read_bytes()


def said(model):
    """The images with the labels that the model itself gives: its accuracy is 1, and another's is agreement."""
    return Split(IMAGES, model.predict_on_batch(IMAGES).argmax(axis=-1))


def arithmetic(litert):
    """The types of the results of all convolutions and matrix products."""
    import tensorflow as tf

    # Without its delegate, which hides the operations
    kind = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with pytest.warns(UserWarning, match="deprecated"):
        interpreter = tf.lite.Interpreter(model_content=litert, experimental_op_resolver_type=kind)
    tensors = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    products = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    found = [op for op in interpreter._get_ops_details() if op["op_name"] in products]
    (images,) = interpreter.get_input_details()
    return images["dtype"], [tensors[index] for op in found for index in op["outputs"]]


def test_a_student_becomes_int8_and_still_says_the_same(tmp_path):
    model = build("keras-student", (8, 8, 1), 3, seed=1)
    data = saved(model, tmp_path)
    litert = quantize(data, IMAGES)
    assert arithmetic(litert) == (np.uint8, [np.int8] * 3)
    assert score(litert, said(model)) > 0.95
    wrong = Split(IMAGES, (said(model).labels + 1) % 3)
    assert score(litert, wrong) < 0.05
    assert len(litert) < len(data) / 2


def test_a_network_with_its_resizing_inside_becomes_int8(tmp_path):
    images = keras.Input((8, 8, 1))
    x = layers.Resizing(24, 24)(layers.Concatenate()([images] * 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    inner = keras.Input((24, 24, 3))
    network = keras.Model(inner, layers.ReLU(6)(layers.DepthwiseConv2D(3)(layers.Conv2D(8, 3, strides=2)(inner))))
    model = keras.Model(images, layers.Dense(3)(layers.GlobalAveragePooling2D()(network(x, training=False))))
    litert = quantize(saved(model, tmp_path), IMAGES)
    assert arithmetic(litert) == (np.uint8, [np.int8] * 3)
    assert score(litert, said(model)) > 0.9


@pytest.mark.slow
def test_a_child_that_dies_costs_its_model_alone(tmp_path, monkeypatch):
    model = build("keras-student", (8, 8, 1), 3, seed=1)
    job = ModelFile(model=saved(model, tmp_path), calibration=IMAGES[:50], test=said(model))
    started = []

    def start(*arguments, on_step, **more):
        started.append(arguments)
        if len(started) == 1:
            return run_in_subprocess(*arguments, on_step=kill_child, **more)
        return run_in_subprocess(*arguments, on_step=on_step, **more)

    def kill_child():
        for child in multiprocessing.active_children():  # none, once it is dead
            child.kill()

    monkeypatch.setattr(kd.models.quantize, "run_in_subprocess", start)
    found = measure_int8({"killed": job, "next": job})
    assert found["killed"].reason == "the child process was killed; the system does that when memory runs out"
    assert found["next"].test_accuracy > 0.95
    assert len(started) == 2


def test_a_child_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(kd.models.quantize, "LIMIT_S", 0.1)  # TensorFlow alone takes longer to start
    model = build("keras-student", (8, 8, 1), 3, seed=1)
    job = ModelFile(model=saved(model, tmp_path), calibration=IMAGES[:50], test=said(model))
    found = measure_int8({"first": job, "second": job})
    assert [int8.reason for int8 in found.values()] == ["not quantized within 0.1 s"] * 2
    assert not [
        pid for pid in descendants(os.getpid()) if is_alive(pid) and b"multiprocessing.spawn" in command_of(pid)
    ]


@pytest.mark.slow
def test_a_child_does_not_outlive_a_parent_killed_with_kill_9():
    program = """
import numpy as np
from kd.data.datasets import Split
from kd.models.quantize import ModelFile, measure_int8
images = np.zeros((1, 8, 8, 1), np.uint8)
measure_int8({"a": ModelFile(model=b"", calibration=images, test=Split(images, np.zeros(1, int)))})
"""
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        children = _until(
            lambda: [pid for pid in descendants(parent.pid) if b"multiprocessing.spawn" in command_of(pid)]
        )
        parent.kill()
    assert _until(lambda: not any(is_alive(pid) for pid in children))


def _until(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found
    return found


def test_no_models_need_no_process():
    start = time.process_time()
    assert measure_int8({}) == {}
    assert time.process_time() - start < 0.1
