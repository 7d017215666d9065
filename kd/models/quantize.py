"""A .keras file as int8: the size and the accuracy that are left when a phone or a microcontroller runs it.

Full integer quantization after training: int8 weights and int8 arithmetic, uint8 images in, float32 scores out. The
converter is C++ that may end the process or hang, so it runs in a process of its own (`measure_int8`).

Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_integer_quant
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kd.data.datasets import Split
from kd.models.keras_files import load

__all__ = ["Int8", "Int8Job", "measure_int8", "quantize", "score"]

LIMIT_S = 300.0  # of one model, the start of its process included; ResNet50 takes 30 on an idle core

Images: TypeAlias = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Int8Job:
    """A model to be quantized.

    Attributes:
        model: bytes of a .keras file; takes images in 0..255, gives one score per class.
        calibration: uint8, shape (n, h, w, c); `kd.config.CALIBRATION` training or validation images, never test.
        test: what it is scored on.
    """

    model: bytes
    calibration: Images
    test: Split


@dataclass(frozen=True, kw_only=True)
class Int8:
    """What became of a job.

    Attributes:
        bytes: size of the int8 file; None if there is none.
        test_accuracy: of the int8 file, a fraction in [0, 1]; None if there is none.
        reason: why there is none, one line; empty if there is one.
    """

    bytes: int | None = None
    test_accuracy: float | None = None
    reason: str = ""


def measure_int8(jobs: Mapping[str, Int8Job]) -> dict[str, Int8]:
    """Quantizes and scores each model in a child process; what goes wrong there is the reason of that model alone.

    One child takes model after model, for TensorFlow needs seconds to start. If it dies, or takes longer than LIMIT_S
    for a model, another child goes on with the next. A child ends when this process does, however that ends.

    Args:
        jobs: by name.
    """
    with tempfile.TemporaryDirectory(prefix="kd-int8-") as folder:
        answers = []
        for number, job in enumerate(jobs.values()):
            path = Path(folder) / f"{number:04}.npz"
            model = np.frombuffer(job.model, np.uint8)
            np.savez(path, model=model, calibration=job.calibration, images=job.test.images, labels=job.test.labels)
            answers.append(path.with_suffix(".json"))
        found: list[Int8] = []
        while len(found) < len(answers):
            command = [sys.executable, "-m", "kd.models.quantize", folder, str(len(found))]
            nothing = subprocess.DEVNULL  # what the converter prints says nothing to a user
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing) as child:
                try:
                    found += _answered(child, answers[len(found) :])
                finally:
                    child.kill()
    return dict(zip(jobs, found, strict=True))


def quantize(model: bytes, calibration: Images) -> bytes:
    """The bytes of a LiteRT (TFLite) file of the same model in int8, for one image at a time.

    Raises:
        ModelError: the file cannot be loaded.
        Exception: the converter's own, such as for an operation that has no int8 form.
    """
    import tensorflow as tf

    network = load(model)
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
    """Accuracy of a LiteRT file on images, a fraction in [0, 1], on one thread."""
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


def _answered(child: subprocess.Popen[bytes], answers: list[Path]) -> list[Int8]:
    """What the child found, in order, up to the model that it died of."""
    found: list[Int8] = []
    for path in answers:
        deadline = time.monotonic() + LIMIT_S
        while not path.is_file():
            if time.monotonic() > deadline:
                return [*found, Int8(reason=f"not quantized within {LIMIT_S:g} s")]
            if child.poll() is not None and not path.is_file():
                return [*found, Int8(reason=f"the converter ended its process with code {child.returncode}")]
            time.sleep(0.05)
        found.append(Int8(**json.loads(path.read_text())))
    return found


def _quantized(path: Path) -> Int8:
    try:
        with np.load(path) as job:
            litert = quantize(job["model"].tobytes(), job["calibration"])
            return Int8(bytes=len(litert), test_accuracy=score(litert, Split(job["images"], job["labels"])))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return Int8(reason=f"{type(error).__name__}: {lines[0]}"[:200])


def _main(folder: Path, first: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for path in sorted(folder.glob("*.npz"))[first:]:
        half = path.with_suffix(".half")
        half.write_text(json.dumps(asdict(_quantized(path))))
        half.rename(path.with_suffix(".json"))


def _end_with_parent() -> None:
    sys.stdin.read()  # returns when the parent is gone, kill -9 included
    os._exit(1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
