"""Convert to int8 and score it.

Full integer quantization after training: int8 weights and int8 arithmetic, uint8 images in, float32 scores out. The
converter is C++ that may abort or hang, so `kd.models.measure.score` calls it in a child process.

Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_integer_quant
"""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kd.data.datasets import Split
from kd.models.custom import load_users

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


def int8_of(file: ModelFile, test: Split) -> Int8:
    """Quantize a model and score that on those images; why that failed is in what it returns."""
    if file.calibration is None:
        return Int8(reason="no images to calibrate it with")
    try:
        litert = quantize(file.model, file.calibration, builder=file.builder)
        return Int8(bytes=len(litert), test_accuracy=score(litert, test))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return Int8(reason=f"{type(error).__name__}: {lines[0]}"[:200])
