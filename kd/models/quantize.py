"""Convert a model to int8, and score the result.

This is full integer quantization after training: int8 weights and arithmetic, uint8 images in, float32 scores out. The
converter is C++ that may abort or hang, so `kd.models.measure.score` calls it in a child process.

Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_integer_quant
"""

import tempfile
import warnings
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kd.data.datasets import Split
from kd.models.custom import load_users

Images: TypeAlias = npt.NDArray[np.uint8]


def quantize(model: bytes, calibration: Images, *, builder: str = "") -> bytes:
    """Return the int8 form of a .keras file as the bytes of a LiteRT (TFLite) file that takes one image at a time.

    Args:
        calibration: images, shape (n, h, w, c), from which the range of every activation is estimated.
        builder: see `kd.models.custom.load_users`.

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
            target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},  # fail rather than keep a float layer
        )
        return path.read_bytes()


def score(litert: bytes, test: Split) -> float:
    """Return the accuracy of a LiteRT file on images, a fraction in [0, 1], computed on one thread."""
    import tensorflow as tf

    with warnings.catch_warnings():
        # "Deprecated" in favour of another distribution, but every TensorFlow still has it.
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
