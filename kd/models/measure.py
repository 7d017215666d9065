"""Measure the size, arithmetic, latency, throughput and test accuracy of models.

Only times need a quiet machine (`measure`). Accuracies, of a model and of its int8 form, do not: `score` finds them
while other work runs.
"""

import math
import pickle
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kd.data.datasets import Split
from kd.errors import SubprocessFailed
from kd.models import custom, quantize
from kd.models.quantize import Images
from kd.tools.processes import Report, run_in_subprocess, silence

Call: TypeAlias = Callable[[Images], npt.NDArray[np.float32]]

THROUGHPUT_BATCH = 256  # images
LATENCY_CALLS = 30  # per round
# Multiply-accumulates to spend on scoring one int8 model, a few seconds to half a minute on one core: enough for all of
# CIFAR-10's 10,000 test images in a network as large as ResNet-20.
INT8_MACS = 500e9
LIMIT_S = 300.0  # for one int8 form, and for the start of its process; ResNet50 takes 30 on an idle core
INT8_IMAGES = 500  # at least, for any model; 1,000 if the multiply-accumulates are unknown
ELEMENTWISE = (keras.layers.BatchNormalization, keras.layers.Normalization)  # weights, but no matrix product


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A finished model and the images to measure it on.

    Args:
        model: bytes of a .keras file; takes uint8 images in 0..255, gives one score per class.
        test: the images to time and score it on.
        calibration: uint8, shape (n, h, w, c): `kd.config.CALIBRATION` training or validation images to calibrate its
            int8 form with, never test images; None for no int8 form.
        builder: the user's "package.module:function" that built it, see `kd.models.custom.load_users`; else "".
    """

    model: bytes
    test: Split
    calibration: Images | None = None
    builder: str = ""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The accuracies of one model on the test images.

    Args:
        test_accuracy: a fraction in [0, 1].
        int8_bytes, int8_test_accuracy: see `kd.models.quantize`; None without an int8 form, for the int8_reason.
        int8_test_images: how many test images, evenly spaced, that accuracy is measured on; else 0.
    """

    test_accuracy: float
    int8_bytes: int | None = None
    int8_test_accuracy: float | None = None
    int8_test_images: int = 0
    int8_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Measurement(Scores):
    """Measurements of one model on this machine with this number of threads, from uint8 images to scores.

    Preprocessing inside a model, such as the resizing of a pretrained network, is part of every figure.

    Args:
        parameters: all weights, BatchNorm statistics included.
        macs: multiply-accumulates of one image in convolutions and dense layers; None if any other kind of layer holds
            weights. Resizing, pooling and activations have no weights and count as nothing.
        bytes: size of the .keras file.
        latency_ms_p50, latency_ms_p95: of one image, from NumPy array to NumPy array.
        images_per_s: in batches of 256, from the median batch.
    """

    name: str
    parameters: int
    macs: int | None
    bytes: int
    latency_ms_p50: float
    latency_ms_p95: float
    images_per_s: float


def measure(
    models: Mapping[str, ModelFile],
    *,
    scores: Mapping[str, Scores] | None = None,
    rounds: int = 10,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Measurement]:
    """Measure several models in one process in turns, so that a busy moment of the machine affects all of them.

    What is timed is a `tf.function` of a fixed batch size, as a server of an exported model runs it; `predict` would
    add milliseconds to each call. The number of threads is the one that TensorFlow was started with.

    Args:
        scores: of models that were scored before; the others are scored here.
        rounds: turns of each model, >= 1: 30 calls with one image and one call with 256 each.
        on_step: called after each turn, each scored batch and each quantized model.
    """
    loaded = {name: _Loaded(file) for name, file in models.items()}
    for _ in range(rounds):
        for model in loaded.values():
            model.take_turn()
            on_step()
    known = dict(scores or {})
    known |= score({name: file for name, file in models.items() if name not in known}, on_step=on_step)
    return {name: model.measurement(name, known[name]) for name, model in loaded.items()}


def score(
    files: Mapping[str, ModelFile],
    *,
    on_step: Callable[[], None] = lambda: None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Scores]:
    """Score each model and its int8 form in a child process.

    One child takes model after model, because TensorFlow takes seconds to start. A model whose int8 form kills the
    child, or takes longer than LIMIT_S, gets that as its reason, and another child continues with the next model.

    Args:
        on_step: called after each scored batch and each quantized model.
        check: called a few times per second; an exception from it ends the child and propagates.

    Raises:
        SubprocessFailed: the model itself killed the child.
    """
    scores: list[Scores] = []
    with tempfile.TemporaryDirectory(prefix="kd-scores-") as folder:
        paths = [Path(folder) / str(number) for number in range(len(files))]
        for path, file in zip(paths, files.values(), strict=True):
            path.write_bytes(pickle.dumps(file))  # as arguments, the child would hold all models in memory at once
        while len(scores) < len(paths):
            scores += _from_one_child(paths[len(scores) :], on_step, check)
    return dict(zip(files, scores, strict=True))


def _from_one_child(paths: list[Path], on_step: Callable[[], None], check: Callable[[], None]) -> list[Scores]:
    scores: list[Scores] = []
    accuracy: float | None = None
    since = time.monotonic()

    def add(result: float | Scores | None = None) -> None:
        nonlocal accuracy, since
        since = time.monotonic()
        if isinstance(result, Scores):
            scores.append(result)
        accuracy = result if isinstance(result, float) else None
        on_step()

    def check_time() -> None:
        check()
        if time.monotonic() - since > LIMIT_S:
            raise SubprocessFailed(f"no result within {LIMIT_S:g} s")

    try:
        run_in_subprocess(_score_files, paths, on_step=check_time, on_report=add)
    except SubprocessFailed as error:
        if accuracy is None:
            raise
        scores.append(Scores(test_accuracy=accuracy, int8_reason=str(error)))
    return scores


def _score_files(report: Report, paths: list[Path]) -> None:
    """Report after each batch; for each model report its accuracy, a float, and then its Scores."""
    silence()  # the converter prints pages
    for path in paths:
        file: ModelFile = pickle.loads(path.read_bytes())
        model = custom.load_users(file.model, file.builder)
        accuracy = _accuracy(model, file.test, report)
        report(accuracy)
        report(_with_int8(file, accuracy, _int8_rows(count_macs(model), len(file.test))))


def _with_int8(file: ModelFile, accuracy: float, rows: npt.NDArray[np.int64]) -> Scores:
    if file.calibration is None:
        return Scores(test_accuracy=accuracy, int8_reason="no images to calibrate it with")
    try:
        litert = quantize.quantize(file.model, file.calibration, builder=file.builder)
        int8 = quantize.score(litert, Split(file.test.images[rows], file.test.labels[rows]))
    except Exception as error:  # of many kinds: an operation without an int8 form, memory
        lines = str(error).strip().splitlines() or [""]
        return Scores(test_accuracy=accuracy, int8_reason=f"{type(error).__name__}: {lines[0]}"[:200])
    return Scores(test_accuracy=accuracy, int8_bytes=len(litert), int8_test_accuracy=int8, int8_test_images=len(rows))


def _accuracy(model: keras.Model, test: Split, on_step: Callable[[], None]) -> float:
    shape, right = test.images.shape[1:], 0
    call = _compiled(model, THROUGHPUT_BATCH, shape)
    for start in range(0, len(test), THROUGHPUT_BATCH):
        truth = test.labels[start : start + THROUGHPUT_BATCH]
        images = test.images[start : start + THROUGHPUT_BATCH]
        batch = np.resize(images, (THROUGHPUT_BATCH, *shape))  # fills up the last one
        right += int(np.sum(call(batch)[: len(truth)].argmax(axis=-1) == truth))
        on_step()
    return right / len(test)


def _int8_rows(macs: int | None, images: int) -> npt.NDArray[np.int64]:
    """Return the indices of the test images to score in int8, evenly spaced, so that a sorted file loses no class."""
    wanted = 2 * INT8_IMAGES if macs is None else max(INT8_IMAGES, int(INT8_MACS / max(macs, 1)))
    return np.linspace(0, images, min(wanted, images), endpoint=False, dtype=np.int64)


def count_macs(model: keras.Model) -> int | None:
    """Count the multiply-accumulates of one image, from the shapes of convolutions and dense layers.

    Normalization counts as nothing: at inference it folds into its neighbour. A layer used twice counts once.
    Return None if another kind of layer holds weights, or if shapes are unknown before the first call.
    """
    total = 0
    for layer in model.layers:
        macs = count_macs(layer) if isinstance(layer, keras.Model) else _layer_macs(layer)
        if macs is None:
            return None
        total += macs
    return total


def _layer_macs(layer: keras.Layer) -> int | None:
    if not layer.weights or isinstance(layer, ELEMENTWISE):
        return 0
    if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)):
        kernels = [layer.kernel]
    elif isinstance(layer, keras.layers.SeparableConv2D):
        kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
    else:
        return None
    try:
        positions = layer.output.shape[1:-1]  # (h, w) of a convolution, () of a dense layer
    except AttributeError:  # inside a subclassed model
        return None
    if None in positions:
        return None
    weights = sum(math.prod(kernel.shape) for kernel in kernels)
    return int(weights * math.prod(positions))  # each weight of a kernel is used once per output position


class _Loaded:
    def __init__(self, file: ModelFile) -> None:
        self._file = file
        self._model = custom.load_users(file.model, file.builder)
        self._one = _compiled(self._model, 1, file.test.images.shape[1:])
        self._many = _compiled(self._model, THROUGHPUT_BATCH, file.test.images.shape[1:])
        self._batch = np.resize(file.test.images, (THROUGHPUT_BATCH, *file.test.images.shape[1:]))  # repeats
        self._latencies: list[float] = []  # s
        self._batch_times: list[float] = []  # s
        for _ in range(LATENCY_CALLS):  # warm-up: the first calls compile and allocate
            self._one(self._batch[:1])
        self._many(self._batch)

    def take_turn(self) -> None:
        self._latencies += [_seconds(self._one, self._batch[i : i + 1]) for i in range(LATENCY_CALLS)]
        self._batch_times.append(_seconds(self._many, self._batch))

    def measurement(self, name: str, scores: Scores) -> Measurement:
        p50, p95 = np.percentile(self._latencies, [50, 95]) * 1e3
        return Measurement(
            name=name,
            parameters=self._model.count_params(),
            macs=count_macs(self._model),
            bytes=len(self._file.model),
            latency_ms_p50=float(p50),
            latency_ms_p95=float(p95),
            images_per_s=THROUGHPUT_BATCH / float(np.median(self._batch_times)),
            **asdict(scores),
        )


def _compiled(model: keras.Model, batch: int, shape: tuple[int, ...]) -> Call:
    @tf.function(input_signature=[tf.TensorSpec((batch, *shape), tf.uint8)], autograph=False)  # type: ignore[untyped-decorator]
    def call(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False)

    def run(images: Images) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = call(tf.constant(images)).numpy()
        return scores

    return run


def _seconds(call: Call, images: Images) -> float:
    start = time.perf_counter()
    call(images)
    return time.perf_counter() - start
