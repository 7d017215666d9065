"""Fit a classifier to the features of a network that was trained on ImageNet (transfer learning).

Frozen: each image goes through the network once, and a linear classifier is fitted to the features. Fine-tuned: the
same, then the network's last stage and the classifier are trained further, on the stored inputs of that stage.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

from kd.baselines.applications import APPLICATIONS, TUNED
from kd.baselines.export import export
from kd.baselines.fine_tuning import tune
from kd.baselines.linear_probe import STRENGTHS, LinearProbe, fit_probes
from kd.baselines.networks import around, build_network, cut
from kd.baselines.weights import obtain_weights
from kd.config import BaselineResult
from kd.errors import ModelError, Unavailable

if TYPE_CHECKING:
    from kd.baselines import Budget, Progress
    from kd.data.datasets import Dataset, Split

__all__ = ["fit"]

BATCH = 64  # images; larger ones were not faster on a CPU (measured)
PROBE = 64  # images on which the saved model must agree with the fitted one

Floats: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int64]


def fit(
    method: str, dataset: Dataset, *, budget: Budget, seed: int, work_dir: Path, on_progress: Progress
) -> BaselineResult:
    """Fit a classifier to the features of one of `APPLICATIONS`; see `kd.baselines.fit`.

    The method is its name, for frozen features, or its name and TUNED. Deterministic: with frozen features the seed
    changes nothing and is only recorded. Of the budget only the seconds apply; after them the best classifier so
    far is the result.

    Raises:
        ModelError: the images have neither 1 nor 3 channels.
        Unavailable: no weights, or the seconds were over before all images were through the frozen network.
    """
    tuned = method.endswith(TUNED)
    application = APPLICATIONS[method.removesuffix(TUNED)]
    if dataset.input_shape[-1] not in (1, 3):
        raise ModelError(f"{method} takes images with 1 or 3 channels, {dataset.name} has {dataset.input_shape[-1]}")
    start, cpu_start = time.perf_counter(), time.process_time()
    deadline = start + budget.seconds
    share = 0.4 if tuned else 0.9  # of the work, until all images are through the frozen network

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
        for probe in fit_probes(_features(features, train), _features(features, validation), dataset.classes):
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
    model_bytes = export(model, probe=dataset.validation.images[:PROBE], expected=expected, work_dir=work_dir)
    return BaselineResult(
        val_accuracy=accuracy,
        parameters=model.count_params(),
        train_images=len(dataset.train),
        train_s=time.perf_counter() - start,
        cpu_s=time.process_time() - cpu_start,
        seed=seed,
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

    They are stored on disk: before the last stage of ResNet50 an image takes 147 KB, and 45,000 images take 6.6 GB.

    Args:
        on_images: called with (images done, images in all) after each batch.
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


def _features(features: keras.Model, maps: tuple[Floats, Labels]) -> tuple[Floats, Labels]:
    batches = range(0, len(maps[1]), BATCH)
    return np.concatenate([features.predict_on_batch(maps[0][begin : begin + BATCH]) for begin in batches]), maps[1]
