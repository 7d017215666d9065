"""Convert to int8 and score it, in a child process.

Full integer quantization after training: int8 weights and int8 arithmetic, uint8 images in, float32 scores out. The
converter is C++ that may abort or hang, so `measure_int8` runs it in a child process.

Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_integer_quant
"""

import pickle
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kd.data.datasets import Split
from kd.errors import SubprocessFailed
from kd.models.custom import load_users
from kd.tools.processes import Report, run_in_subprocess, silence

LIMIT_S = 300.0  # of one model, the start of its process included; ResNet50 takes 30 on an idle core

Images: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A finished model and the images to measure it on.

    Args:
        model: bytes of a .keras file; takes uint8 images in 0..255, gives one score per class.
        test: the images to time it and to score it on.
        calibration: uint8, shape (n, h, w, c): `kd.config.CALIBRATION` training or validation images to calibrate its
            int8 form with, never test; None if no int8 form is wanted.
        builder: the user's "package.module:function" that built it, see `kd.models.custom.load_users`; "" if none did.
    """

    model: bytes
    test: Split
    calibration: Images | None = None
    builder: str = ""


@dataclass(frozen=True, kw_only=True)
class Int8:
    """The size and the accuracy, in [0, 1], of an int8 file; or, in one line, why there is none."""

    bytes: int | None = None
    test_accuracy: float | None = None
    reason: str = ""


def measure_int8(files: Mapping[str, ModelFile], *, on_model: Callable[[], None] = lambda: None) -> dict[str, Int8]:
    """Quantize and score each model in a child process.

    One child converts model after model, because TensorFlow takes seconds to start. A model that kills the child, or
    takes longer than LIMIT_S, gets that as its reason, and another child goes on with the next model.
    """
    results: list[Int8] = []
    with tempfile.TemporaryDirectory(prefix="kd-int8-") as folder:
        paths = {
            name: Path(folder) / str(number) for number, name in enumerate(files) if files[name].calibration is not None
        }
        for name, path in paths.items():
            path.write_bytes(pickle.dumps(files[name]))  # not sent: the child would hold all models in memory at once
        while len(results) < len(paths):
            results += _from_one_child(list(paths.values())[len(results) :], on_model)
    measured = dict(zip(paths, results, strict=True))
    return {name: measured.get(name) or Int8(reason="no images to calibrate it with") for name in files}


def quantize(model: bytes, calibration: Images, *, builder: str = "") -> bytes:
    """Return the bytes of a LiteRT (TFLite) file of the same model in int8, for one image at a time.

    Raises:
        Exception: the converter's own, such as for an operation that has no int8 form.
    """
    import tensorflow as tf

    network = load_users(model, builder)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.tflite"
        network.export(
            path,
            format="litert",
            verbose=False,
            input_signature=[tf.TensorSpec((1, *calibration.shape[1:]), tf.uint8)],
            optimizations=[tf.lite.Optimize.DEFAULT],
            representative_dataset=lambda: ([image[None]] for image in calibration),
            target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},  # or nothing: no float layer inside
        )
        return path.read_bytes()


def score(litert: bytes, test: Split) -> float:
    """Return the accuracy of a LiteRT file on images, a fraction in [0, 1], computed on one thread."""
    import tensorflow as tf

    with warnings.catch_warnings():
        # It is "deprecated" in favour of another distribution, but every TensorFlow still has it.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        interpreter = tf.lite.Interpreter(model_content=litert, num_threads=1)
    interpreter.allocate_tensors()
    images, scores = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    right = 0
    for image, label in zip(test.images, test.labels, strict=True):
        interpreter.set_tensor(images, image[None])
        interpreter.invoke()
        right += int(interpreter.get_tensor(scores)[0].argmax() == label)
    return right / len(test)


def _from_one_child(paths: list[Path], on_model: Callable[[], None]) -> list[Int8]:
    results: list[Int8] = []
    since = time.monotonic()

    def add(result: Int8) -> None:
        nonlocal since
        results.append(result)
        since = time.monotonic()
        on_model()

    def check() -> None:
        if time.monotonic() - since > LIMIT_S:
            raise SubprocessFailed(f"not quantized within {LIMIT_S:g} s")

    try:
        run_in_subprocess(_measure_files, paths, on_step=check, on_report=add)
    except SubprocessFailed as error:
        results.append(Int8(reason=str(error)))
    return results


def _measure_files(report: Report, paths: list[Path]) -> None:
    silence()  # what the converter prints says nothing to a user
    for path in paths:
        report(_measured(pickle.loads(path.read_bytes())))


def _measured(file: ModelFile) -> Int8:
    assert file.calibration is not None
    try:
        litert = quantize(file.model, file.calibration, builder=file.builder)
        return Int8(bytes=len(litert), test_accuracy=score(litert, file.test))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return Int8(reason=f"{type(error).__name__}: {lines[0]}"[:200])
