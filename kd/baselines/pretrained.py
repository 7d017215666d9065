"""Fit a linear probe to a pretrained network, and fine-tune it.

Frozen: each image goes through the network once, and a linear classifier is fitted to the features. Source: linear
evaluation as in Kornblith et al. 2019, arXiv:1805.08974, section 3.

Fine-tuned: the same, then the network's last stage and the classifier are trained further, on the stored inputs of that
stage. Starting from the probe preserves good features, which the gradients of a random classifier would distort.
Source: LP-FT, Kumar et al. 2022, arXiv:2202.10054, section 3.4.
"""

import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kd.baselines.applications import APPLICATIONS, TUNED, Application, obtain_weights
from kd.baselines.methods import Budget, Progress
from kd.config import BaselineResult
from kd.data.datasets import Dataset, Split
from kd.errors import ModelError, Unavailable
from kd.models.files import export

# Inverse regularisation strength C of the logistic regression, on standardised features.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1)

BATCH = 64  # images, and features; larger batches were not faster on a CPU (measured)
ROUNDS = 10  # at most, each of as many epochs as have STEPS batches: one epoch from 3,200 images on
STEPS = 50
PATIENCE = 3  # rounds without a better validation accuracy
# Of Adam. On 4,000 images of CIFAR-10, Lite0 went from 0.799 to 0.849 in 5 epochs, and MobileNet from 0.727 to 0.751 in
# 7. With 1e-3 both lost accuracy at first; with 3e-5 Lite0 reached 0.841.
LEARNING_RATE = 1e-4
PROBE = 64  # images on which the saved model must agree with the fitted one

Floats: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]
Tensor: TypeAlias = Any  # of TensorFlow


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """A linear classifier: logits = features @ kernel (d, classes) + bias (classes,).

    strength: C, one of STRENGTHS. accuracy: on the validation features, a fraction in [0, 1].
    """

    kernel: Floats
    bias: Floats
    strength: float
    accuracy: float


def fit_probes(train: tuple[Floats, Labels], validation: tuple[Floats, Labels], classes: int) -> Iterator[LinearProbe]:
    """Yield one classifier per strength, the most regularised first, so that `max` by accuracy prefers it among equals.

    Features have the shape (n, d), labels the shape (n,); every class occurs in the training labels.
    """
    for strength in STRENGTHS:
        kernel, bias = fit_linear(*train, classes, strength)
        accuracy = float(np.mean((validation[0] @ kernel + bias).argmax(axis=-1) == validation[1]))
        yield LinearProbe(kernel=kernel, bias=bias, strength=strength, accuracy=accuracy)


def fit_linear(features: Floats, labels: Labels, classes: int, strength: float) -> tuple[Floats, Floats]:
    """Return the kernel (d, classes) and the bias (classes,) of a multinomial logistic regression.

    The raw features, shape (n, d), are standardised here; kernel and bias include the standardisation. The strength is
    sklearn's C, > 0; larger means less regularisation.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    mean, scale = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0  # a constant feature
    # One thread: these products are small, and with another busy process two threads took 20 times longer (measured).
    with threadpool_limits(limits=1, user_api="blas"):
        solver = LogisticRegression(C=strength, max_iter=1000).fit((features - mean) / scale, labels)
    weights, bias = solver.coef_, solver.intercept_  # (classes, d), (classes,)
    if classes == 2:  # sklearn gives one row: the logit of class 1 against class 0
        weights, bias = np.vstack([0 * weights, weights]), np.concatenate([0 * bias, bias])
    weights = weights / scale
    return weights.T.astype(np.float32), (bias - weights @ mean).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The result of fine-tuning: the best validation accuracy, at least that of the linear probe.

    epochs: until the best accuracy; 0 if it is the linear probe's. capped: whether the deadline ended the tuning.
    """

    accuracy: float
    epochs: int
    capped: bool


def tune(
    classifier: keras.Model,
    train: tuple[Floats, Labels],
    validation: tuple[Floats, Labels],
    *,
    seed: int,
    deadline: float,
    on_batch: Callable[[float, str], None],
) -> Tuned:
    """Train the classifier until the validation accuracy no longer improves, and restore its best weights.

    The same seed gives the same bits, on the same machine and number of threads.

    Args:
        classifier: maps inputs (n, ...) to logits (n, classes); its last layer holds the linear probe.
        train, validation: inputs, float32, shape (n, ...), and labels, int64, shape (n,).
        seed: of the order of the batches, in [0, 2**32).
        deadline: in `time.perf_counter`'s seconds, checked at every batch; an unfinished round is discarded.
        on_batch: called with (fraction of ROUNDS done, text).
    """
    inputs, labels = train
    epochs = math.ceil(STEPS * BATCH / len(labels))  # of a round
    steps = epochs * len(labels) // BATCH  # the last partial batch is dropped: it would compile again
    train_step = _compiled_step(classifier)
    best, best_round, best_weights = _accuracy(classifier, *validation), 0, classifier.get_weights()

    def tuned(*, capped: bool) -> Tuned:
        classifier.set_weights(best_weights)
        return Tuned(accuracy=best, epochs=best_round * epochs, capped=capped)

    for number in range(1, ROUNDS + 1):
        random = np.random.default_rng((seed, number))
        order = np.concatenate([random.permutation(len(labels)) for _ in range(epochs)])
        for step in range(steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            train_step(inputs[rows], labels[rows])
            if time.perf_counter() > deadline:
                return tuned(capped=True)
            fraction = (number - 1 + (step + 1) / steps) / ROUNDS
            on_batch(fraction, f"fine-tuning, epoch {number * epochs}, best validation accuracy {best:.3f}")
        accuracy = _accuracy(classifier, *validation)
        if accuracy > best:
            best, best_round, best_weights = accuracy, number, classifier.get_weights()
        elif number - best_round >= PATIENCE:
            break
    return tuned(capped=False)


def _compiled_step(classifier: keras.Model) -> Callable[[Floats, Labels], object]:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    variables = classifier.trainable_variables
    optimizer.build(variables)

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def step(inputs: Tensor, labels: Tensor) -> None:
        # In inference mode, BatchNorm keeps the statistics of ImageNet. `fit` would update them, even if the model was
        # built with training=False, and cost 4 points of the probe's accuracy in the first epoch (measured).
        with tf.GradientTape() as tape:
            value = loss(labels, classifier(inputs, training=False))
        optimizer.apply(tape.gradient(value, variables), variables)

    return step  # type: ignore[no-any-return]


def _accuracy(classifier: keras.Model, inputs: Floats, labels: Labels) -> float:
    return float(np.mean(_predicted(classifier, inputs).argmax(axis=-1) == labels))


def _predicted(model: keras.Model, inputs: Floats) -> Floats:
    batches = range(0, len(inputs), BATCH)
    return np.concatenate([model.predict_on_batch(inputs[begin : begin + BATCH]) for begin in batches])


def build_network(application: Application, weights: Path) -> keras.Model:
    """Build a network with the weights of a file, from preprocessed images (n, pixels, pixels, 3) to features (n, d).

    Raises:
        Unavailable: the file is damaged or another network's: its path, and what to type.
    """
    try:
        return application.network(application.pixels, weights)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(
            f"{weights} is not a valid weights file of {application.title} ({reason}); "
            "delete it to download it again, or type: export KD_SWEEPS_WEIGHTS=DIR where DIR has a valid one"
        ) from error


def around(network: keras.Model, application: Application, input_shape: tuple[int, int, int]) -> keras.Model:
    """Put resizing and preprocessing before a network, so that it takes images (n, h, w, c) in 0..255, c = 1 or 3."""
    images = keras.Input(input_shape, name="images")
    x = keras.layers.Concatenate(name="gray_to_rgb")([images] * 3) if input_shape[-1] == 1 else images
    x = keras.layers.Resizing(application.pixels, application.pixels, interpolation="bilinear")(x)
    return keras.Model(images, network(application.preprocess(x)))


def cut(network: keras.Model, layer: str) -> tuple[keras.Model, keras.Model]:
    """Cut a network after a layer into two models, which share their layers with the whole."""
    middle = network.get_layer(layer).output
    return keras.Model(network.input, middle), keras.Model(middle, network.output)


def fit(
    method: str, dataset: Dataset, *, budget: Budget, seed: int, work_dir: Path, on_progress: Progress
) -> BaselineResult:
    """Fit a classifier to the features of one of `APPLICATIONS`; see `kd.baselines.methods.fit`.

    The method is its name, for frozen features, or its name and TUNED. With frozen features the seed changes nothing.
    Of the budget only the seconds apply; then the best classifier so far is the result.

    Raises:
        ModelError: the images have neither 1 nor 3 channels.
        Unavailable: no weights, or the seconds were over before all images had passed the frozen network.
    """
    tuned = method.endswith(TUNED)
    application = APPLICATIONS[method.removesuffix(TUNED)]
    if dataset.input_shape[-1] not in (1, 3):
        raise ModelError(f"{method} takes images with 1 or 3 channels, {dataset.name} has {dataset.input_shape[-1]}")
    start, cpu_start = time.perf_counter(), time.process_time()
    deadline = start + budget.seconds
    share = 0.4 if tuned else 0.9  # of the work, until all images have passed the frozen network

    def on_images(done: int, total: int) -> None:
        if time.perf_counter() > deadline:
            raise Unavailable(
                f"{method} had features of {done} of {total} images after its {budget.seconds:g} s; "
                "give the baselines more seconds or the target fewer images"
            )
        on_progress(share * done / total, f"features of {done} of {total} images")

    on_progress(0.0, "ImageNet weights")
    weights = obtain_weights(application, seconds=budget.seconds)
    network = build_network(application, weights)
    frozen, rest = cut(network, application.frozen_until) if tuned else (network, keras.layers.Identity())
    trunk = around(frozen, application, dataset.input_shape)
    maps = keras.Input(trunk.output.shape[1:])
    features = keras.Model(maps, rest(maps))
    head = keras.layers.Dense(dataset.classes, name="logits")
    classifier = keras.Model(maps, head(features.output))

    with tempfile.TemporaryDirectory(dir=work_dir, prefix="features-") as folder:
        train, validation = _passed(trunk, dataset, Path(folder), on_images)
        probes: list[LinearProbe] = []
        of_train, of_validation = ((_predicted(features, inputs), labels) for inputs, labels in (train, validation))
        for probe in fit_probes(of_train, of_validation, dataset.classes):
            probes.append(probe)
            fraction = share + 0.1 * len(probes) / len(STRENGTHS)
            on_progress(fraction, f"C={probe.strength:g}: validation accuracy {probe.accuracy:.3f}")
            if time.perf_counter() > deadline:
                break
        best = max(probes, key=lambda probe: probe.accuracy)
        head.set_weights([best.kernel, best.bias])
        accuracy, capped, what = best.accuracy, len(probes) < len(STRENGTHS), "frozen features"
        if tuned:
            tuning = tune(
                classifier,
                train,
                validation,
                seed=seed,
                deadline=deadline,
                on_batch=lambda fraction, text: on_progress(share + 0.1 + (0.9 - share) * fraction, text),
            )
            accuracy, capped, what = tuning.accuracy, tuning.capped, f"last stage tuned, {tuning.epochs} epochs"
        expected = classifier.predict_on_batch(validation[0][:PROBE])

    whole = around(network, application, dataset.input_shape)
    model = keras.Model(whole.input, head(whole.output), name=method)
    model_bytes = export(model, probe=dataset.validation.images[:PROBE], expected=expected)
    return BaselineResult(
        val_accuracy=accuracy,
        parameters=model.count_params(),
        train_s=time.perf_counter() - start,
        cpu_s=time.process_time() - cpu_start,
        model=model_bytes,
        detail=f"{what}, {application.pixels} px, uses ImageNet (its classes overlap CIFAR-10's)",
        capped=capped,
        provenance={
            "weights_file": application.weights_file,
            "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        },
    )


def _passed(
    trunk: keras.Model, dataset: Dataset, folder: Path, on_images: Callable[[int, int], None]
) -> tuple[tuple[Floats, Labels], tuple[Floats, Labels]]:
    """Return the trunk's outputs for the training and the validation images, with their labels.

    They are stored on disk: before ResNet50's last stage an image takes 147 KB, and 45,000 images take 6.6 GB.
    """
    total, done = len(dataset.train) + len(dataset.validation), 0

    def passed(split: Split, path: Path) -> tuple[Floats, Labels]:
        nonlocal done
        with path.open("wb") as file:
            for begin in range(0, len(split), BATCH):
                maps = trunk.predict_on_batch(split.images[begin : begin + BATCH])
                file.write(maps.tobytes())
                done += len(maps)
                on_images(done, total)
        return np.memmap(path, np.float32, mode="r", shape=(len(split), *maps.shape[1:])), split.labels

    return passed(dataset.train, folder / "train"), passed(dataset.validation, folder / "validation")
