"""Transfer learning without training the network: ImageNet features, and a linear classifier on top.

Each image goes through the network once. Then L2-regularised logistic regression on the frozen features, its
strength chosen by validation accuracy; it becomes the Dense layer of the saved model.
Source: linear evaluation as in Kornblith et al. 2019, arXiv:1805.08974, section 3.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kd.baselines.weights import obtain_weights
from kd.config import BaselineResult
from kd.errors import ModelError, Unavailable

if TYPE_CHECKING:
    import keras

    from kd.baselines import Budget, Progress
    from kd.datasets import Dataset, Split

__all__ = ["APPLICATIONS", "Application", "fit"]

# Inverse regularisation strength C of the logistic regression, on standardised features.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1)
BATCH = 64  # images; larger ones are not faster on a CPU, seen
PROBE = 64  # images on which the saved model must agree with the fitted one

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Application:
    """One network of keras.applications, and how to feed it.

    Attributes:
        summary: what it is, for people.
        constructor: its name in keras.applications.
        kwargs: what selects the variant, e.g. its width.
        pixels: side of the square that every image is resized to. Features of images much smaller than those
            of ImageNet are poor: 0.26 accuracy at 32 px and 0.72 at 96 px on CIFAR-10, seen.
        preprocess: layers that take 0..255 to what its weights were trained on; each family has its own.
        weights_file, weights_url: as Keras names and serves the weights without the top.
    """

    summary: str
    constructor: str
    pixels: int
    preprocess: Callable[[], Sequence[keras.Layer]]
    weights_file: str
    weights_url: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def _minus_one_to_one() -> Sequence[keras.Layer]:
    import keras  # here and below: the table above is read by commands that must not wait for TensorFlow

    return [keras.layers.Rescaling(1 / 127.5, offset=-1.0)]


APPLICATIONS: dict[str, Application] = {
    "mobilenet": Application(
        summary="MobileNet 0.25, ImageNet weights: frozen features at 96 px and a linear classifier",
        constructor="MobileNet",
        kwargs={"alpha": 0.25},
        pixels=96,
        preprocess=_minus_one_to_one,
        weights_file="mobilenet_2_5_224_tf_no_top.h5",
        weights_url=(
            "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/mobilenet_2_5_224_tf_no_top.h5"
        ),
    ),
}


def fit(
    method: str, dataset: Dataset, *, budget: Budget, seed: int, work_dir: Path, on_progress: Progress
) -> BaselineResult:
    """A linear classifier on the frozen features of `APPLICATIONS[method]`; see `kd.baselines.fit`.

    Deterministic: the seed changes nothing and is only recorded. Of the budget only the seconds apply.

    Raises:
        ModelError: the images have neither 1 nor 3 channels.
        Unavailable: no weights, or the seconds were over before the features were computed.
    """
    import keras

    from kd.baselines.export import export

    application = APPLICATIONS[method]
    if dataset.input_shape[-1] not in (1, 3):
        raise ModelError(f"{method} takes images with 1 or 3 channels, {dataset.name} has {dataset.input_shape[-1]}")
    start, cpu_start = time.perf_counter(), time.process_time()
    deadline = start + budget.seconds
    on_progress(0.0, "ImageNet weights")
    weights = obtain_weights(application.weights_file, application.weights_url, seconds=budget.seconds)
    network = _frozen_network(application, dataset.input_shape, weights)

    total, done = len(dataset.train) + len(dataset.validation), 0

    def features(split: Split) -> Floats:
        nonlocal done
        parts: list[Floats] = []
        for begin in range(0, len(split), BATCH):
            parts.append(network.predict_on_batch(split.images[begin : begin + BATCH]))
            done += len(parts[-1])
            if time.perf_counter() > deadline:
                raise Unavailable(
                    f"{method} had features of {done} of {total} images after its {budget.seconds:g} s; "
                    "give the baselines more seconds or the target fewer images"
                )
            on_progress(0.9 * done / total, f"features of {done} of {total} images")
        return np.concatenate(parts)

    train, validation = features(dataset.train), features(dataset.validation)
    capped, best, kernel, bias = False, -1.0, np.empty(0, np.float32), np.empty(0, np.float32)
    for index, strength in enumerate(STRENGTHS):
        trial_kernel, trial_bias = fit_linear(train, dataset.train.labels, dataset.classes, strength)
        predicted = (validation @ trial_kernel + trial_bias).argmax(axis=-1)
        accuracy = float(np.mean(predicted == dataset.validation.labels))
        if accuracy > best:  # on a tie the stronger regularisation stands
            best, kernel, bias = accuracy, trial_kernel, trial_bias
        fraction = 0.9 + 0.1 * (index + 1) / len(STRENGTHS)
        on_progress(fraction, f"C={strength:g}: validation accuracy {accuracy:.3f}")
        if time.perf_counter() > deadline and index + 1 < len(STRENGTHS):
            capped = True
            break

    head = keras.layers.Dense(dataset.classes, name="logits")
    model = keras.Model(network.input, head(network.output), name=method)
    head.set_weights([kernel, bias])
    model_bytes = export(
        model,
        probe=dataset.validation.images[:PROBE],
        expected=validation[:PROBE] @ kernel + bias,
        work_dir=work_dir,
    )
    return BaselineResult(
        val_accuracy=best,
        parameters=model.count_params(),
        train_images=len(dataset.train),
        train_s=time.perf_counter() - start,
        cpu_s=time.process_time() - cpu_start,
        seed=seed,
        model=model_bytes,
        detail=f"frozen features, {application.pixels} px, uses ImageNet",
        capped=capped,
        provenance={
            "weights_file": application.weights_file,
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        },
    )


def fit_linear(features: Floats, labels: npt.NDArray[np.int64], classes: int, strength: float) -> tuple[Floats, Floats]:
    """Kernel (features, classes) and bias (classes,) of logits, from multinomial logistic regression.

    Args:
        features: shape (n, d), raw; standardised here, and the standardisation folded into what is returned.
        labels: shape (n,), in 0..classes-1; every class occurs.
        classes: >= 2.
        strength: sklearn's C, > 0; larger means less regularisation.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0  # a feature that never fires
    # One thread: these products are small, and two threads beside a busy neighbour took 20 times longer, seen.
    with threadpool_limits(limits=1, user_api="blas"):
        solver = LogisticRegression(C=strength, max_iter=1000).fit((features - mean) / scale, labels)
    weights, bias = solver.coef_, solver.intercept_  # (classes, d), (classes,)
    if classes == 2:  # sklearn gives one row: the logit of class 1 against class 0
        weights, bias = np.vstack([0 * weights, weights]), np.concatenate([0 * bias, bias])
    weights = weights / scale
    return weights.T.astype(np.float32), (bias - weights @ mean).astype(np.float32)


def _frozen_network(application: Application, input_shape: tuple[int, int, int], weights: Path) -> keras.Model:
    """Images (n, h, w, c) in 0..255 to features (n, d): resized, preprocessed, averaged over positions."""
    import keras

    images = keras.Input(input_shape, name="images")
    x = keras.layers.Concatenate(name="gray_to_rgb")([images] * 3) if input_shape[-1] == 1 else images
    x = keras.layers.Resizing(application.pixels, application.pixels, interpolation="bilinear")(x)
    for layer in application.preprocess():
        x = layer(x)
    constructor = getattr(keras.applications, application.constructor)
    try:
        network = constructor(
            include_top=False,
            pooling="avg",
            input_shape=(application.pixels, application.pixels, 3),
            weights=str(weights),
            **application.kwargs,
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(
            f"{weights} is not a whole weights file of {application.constructor} ({reason}); "
            "delete it to have it downloaded, or type: export KERAS_HOME=DIR where DIR/models has a good one"
        ) from error
    network.trainable = False
    # training=False becomes part of the graph: BatchNorm keeps its ImageNet statistics whatever comes later.
    return keras.Model(images, network(x, training=False), name="frozen_features")
