"""Search a network with AutoKeras, over smaller blocks than its own.

AutoKeras' `ResNetBlock` and `XceptionBlock` are the ImageNet networks: 23.6 million parameters at 32 px, and 20.9
million on images enlarged to 71 px. The two here keep the idea and the names, at the size of the images. Source for
custom blocks: https://autokeras.com/tutorial/customized/

`ImageClassifier` is not used: its second trial is a ResNet50 at 224 px and its third a pretrained EfficientNet-B7
(`autokeras.tuners.task_specific.IMAGE_CLASSIFIER`). The first trial here is its first, a vanilla network. Then each
other kind of block gets one trial, and AutoKeras' greedy search around the best so far proposes the rest: kind of
block, its shape, the head and the optimizer.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import autokeras as ak
import keras
import keras_tuner
import numpy as np
from autokeras.keras_layers import PreprocessingLayer
from keras import layers

from kd.baselines.methods import Budget, Progress
from kd.config import BaselineResult
from kd.data.datasets import Dataset
from kd.errors import ModelError, Unavailable
from kd.models import files, named

BLOCK_TYPE = "block_type"  # as AutoKeras' own ImageBlock calls it


class Blocks(ak.Block):  # type: ignore[misc]
    """Normalizes images and applies one kind of block, one of `_KINDS`; the search chooses the kind."""

    def __init__(self, kinds: tuple[str, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kinds = kinds

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kinds": self.kinds}

    def build(self, hp: Any, inputs: Any = None) -> keras.KerasTensor:
        images = ak.Normalization(name="normalization").build(hp, inputs)
        kind = hp.Choice(BLOCK_TYPE, list(self.kinds))
        with hp.conditional_scope(BLOCK_TYPE, [kind]):
            return _KINDS[kind](name=kind).build(hp, images)


class _ResNet(ak.Block):  # type: ignore[misc]
    """Three stages of residual blocks of two 3x3 convolutions; every stage after the first halves the image.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2, with projections where the size changes.
    """

    convolution: type[layers.Layer] = layers.Conv2D
    widths = (8, 16, 32)  # of the first stage; the later ones are two and four times as wide
    first_width = 16

    def build(self, hp: Any, inputs: Any = None) -> keras.KerasTensor:
        width = hp.Choice("width", list(self.widths), default=self.first_width)
        depth = hp.Choice("depth", [1, 2, 3], default=1)  # blocks per stage
        x = layers.ReLU()(named.norm(layers.Conv2D(width, 3, padding="same", use_bias=False)(inputs)))
        for stage in range(3):
            for block in range(depth):
                x = self._residual(x, width * 2**stage, strides=2 if stage and not block else 1)
        return x

    def _residual(self, x: keras.KerasTensor, width: int, *, strides: int) -> keras.KerasTensor:
        shortcut = x
        if strides > 1:
            shortcut = named.norm(layers.Conv2D(width, 1, strides=strides, use_bias=False)(x))
        x = layers.ReLU()(named.norm(self.convolution(width, 3, strides=strides, padding="same", use_bias=False)(x)))
        x = named.norm(self.convolution(width, 3, padding="same", use_bias=False)(x))
        return layers.ReLU()(layers.Add()([x, shortcut]))


class _Xception(_ResNet):
    """The same with separable convolutions, as in Xception; they are cheap, so the blocks are twice as wide.

    Source: Chollet 2016, arXiv:1610.02357, section 3: separable convolutions with residual connections.
    """

    convolution = layers.SeparableConv2D
    widths = (16, 32, 64)
    first_width = 32


_KINDS: dict[str, type[ak.Block]] = {"vanilla": ak.ConvBlock, "xception": _Xception, "resnet": _ResNet}

# The first trial of each kind; vanilla's is AutoKeras' first, `task_specific.IMAGE_CLASSIFIER`.
_FIRST: dict[str, dict[str, Any]] = {
    "vanilla": {
        "kernel_size": 3,
        "num_blocks": 1,
        "num_layers": 2,
        "max_pooling": True,
        "separable": False,
        "dropout": 0.25,
        "filters_0_0": 32,
        "filters_0_1": 64,
    },
    "xception": {"width": 32, "depth": 1},
    "resnet": {"width": 16, "depth": 1},
}
_FIRST_HEAD = {
    "vanilla": {"spatial_reduction_1/reduction_type": "flatten", "dropout": 0.5},
    "xception": {"spatial_reduction_1/reduction_type": "global_avg", "dropout": 0.0},
    "resnet": {"spatial_reduction_1/reduction_type": "global_avg", "dropout": 0.0},
}


# AutoKeras addresses a trial's values by the names of these blocks.
_BLOCKS, _HEAD = "blocks", "head"


def first_trial(kind: str) -> dict[str, Any]:
    """Return the hyperparameters of the first trial with a kind of block, by their full names."""
    return {
        f"{_BLOCKS}/{BLOCK_TYPE}": kind,
        **{f"{_BLOCKS}/{kind}/{name}": value for name, value in _FIRST[kind].items()},
        **{f"{_HEAD}/{name}": value for name, value in _FIRST_HEAD[kind].items()},
        "optimizer": "adam",
        "learning_rate": 1e-3,
    }


BATCH = 64  # images, as in all other training here; AutoKeras' default is 32
PATIENCE = 3  # epochs without a better validation accuracy before a trial ends
PROBE = 64  # images on which the saved model must agree with the searched one


def fit(
    method: str, dataset: Dataset, *, budget: Budget, seed: int, work_dir: Path, on_progress: Progress
) -> BaselineResult:
    """Return the best model that AutoKeras finds within the budget; see `kd.baselines.methods.fit`.

    At the time limit the best FINISHED trial is the result; without one, the best epoch of the first trial.

    Raises:
        Unavailable: no epoch was finished within the seconds, every trial failed, or tensorboard is missing.
        ModelError: the best model predicts something else after loading.
    """
    if importlib.util.find_spec("tensorboard") is None:
        # Without it every trial fails inside KerasTuner, and the search ends without an error.
        raise Unavailable("AutoKeras needs tensorboard, which is missing; type: pip install tensorboard")
    start, cpu_start = time.perf_counter(), time.process_time()
    project = work_dir / "autokeras"
    watch = _Watch(deadline=start + budget.seconds, cpu_start=cpu_start, budget=budget, on_progress=on_progress)
    try:
        search = _search(dataset, budget=budget, seed=seed, project=project)
        _run(search, dataset, budget=budget, watch=watch)
        searched, score, what = _best_model(search.tuner, budget=budget)
        model = _plain_keras(searched, dataset.input_shape)
        probe = dataset.validation.images[:PROBE]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns that its model has a list of one input
            expected = searched.predict(probe, verbose=0)
        predicted = model.predict(dataset.validation.images, batch_size=256, verbose=0).argmax(axis=-1)
        accuracy = float(np.mean(predicted == dataset.validation.labels))
        if score is not None and abs(accuracy - score) > 0.01:
            raise ModelError(
                f"AutoKeras' best model scored {score:.3f} in its trial and {accuracy:.3f} when loaded again"
            )
        return BaselineResult(
            val_accuracy=accuracy,
            parameters=model.count_params(),
            train_s=time.perf_counter() - start,
            cpu_s=time.process_time() - cpu_start,
            model=files.export(model, probe=probe, expected=expected),
            detail=f"{what}, {budget.epochs} epochs at most",
            capped=watch.time_is_up,
            curve=tuple(watch.curve) or (watch.best_epoch,),
        )
    finally:
        shutil.rmtree(project, ignore_errors=True)


class _Head(ak.ClassificationHead):  # type: ignore[misc]
    """A head with Python integers: AutoKeras 3.0.0 passes Dense a numpy integer, which Keras >= 3.13 refuses."""

    shape: Any

    def build(self, hp: Any, inputs: Any = None) -> Any:
        self.shape = tuple(int(side) for side in self.shape)
        return super().build(hp, inputs)


class _Stopped(keras_tuner.errors.FatalError):  # type: ignore[misc]
    """Ends the search: KerasTuner records any other exception as a failed trial and continues."""


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports progress and ends the search at the deadline, between two batches of training or validation."""

    def __init__(self, *, deadline: float, cpu_start: float, budget: Budget, on_progress: Progress) -> None:
        super().__init__()
        self.deadline, self.cpu_start, self.budget, self.on_progress = deadline, cpu_start, budget, on_progress
        self.time_is_up = False
        self.failure: BaseException | None = None  # raised by on_progress
        self.curve: list[tuple[float, float]] = []  # after each finished trial, see BaselineResult
        self.best_epoch = (0.0, float("-inf"))  # of all epochs, as in the curve
        self._trial = 0  # number of the trial in training, from 1
        self._epoch = 0  # number of its epoch, from 0

    def __deepcopy__(self, memo: dict[int, object]) -> _Watch:
        return self  # KerasTuner copies the callbacks for each trial; all must share one deadline

    def on_train_begin(self, logs: Any = None) -> None:
        self._trial += 1
        self._check()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check()
        if batch % 10 == 0:
            self._report(within_epoch=batch / max(1, self.params.get("steps") or 1), text="training")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        accuracy = float((logs or {}).get("val_accuracy", float("nan")))
        if accuracy > self.best_epoch[1]:
            self.best_epoch = (time.process_time() - self.cpu_start, accuracy)
        self._report(within_epoch=1.0, text=f"validation accuracy {accuracy:.3f}")

    def on_train_end(self, logs: Any = None) -> None:
        self.curve.append((time.process_time() - self.cpu_start, self.best_epoch[1]))

    def _check(self) -> None:
        if time.perf_counter() > self.deadline:
            self.time_is_up = True
            raise _Stopped("the time is up")

    def _report(self, *, within_epoch: float, text: str) -> None:
        trials, epochs = self.budget.trials, self.budget.epochs
        trial = min(self._trial, trials)
        fraction = (trial - 1 + (self._epoch + min(1.0, within_epoch)) / epochs) / trials
        try:
            where = f"trial {trial} of {trials}, epoch {self._epoch + 1} of {epochs}"
            self.on_progress(fraction, f"{where}: {text}")
        except Exception as error:
            self.failure = error
            raise _Stopped("on_progress raised") from error


def _search(dataset: Dataset, *, budget: Budget, seed: int, project: Path) -> Any:
    keras.utils.set_random_seed(seed)  # Python, NumPy (the greedy search draws from it) and initial weights
    images = ak.ImageInput()
    blocks = Blocks(budget.blocks, name=_BLOCKS)(images)
    # For two classes AutoKeras makes one output; multi_label keeps one per class, with a sigmoid.
    classes = _Head(num_classes=dataset.classes, multi_label=dataset.classes == 2, name=_HEAD)(blocks)
    return ak.AutoModel(
        images,
        classes,
        max_trials=budget.trials,
        objective=keras_tuner.Objective("val_accuracy", "max"),
        directory=project.parent,
        project_name=project.name,
        overwrite=True,
        seed=seed,
        max_model_size=budget.max_parameters,
        initial_hps=[first_trial(block) for block in budget.blocks],
    )


def _run(search: Any, dataset: Dataset, *, budget: Budget, watch: _Watch) -> None:
    # One-hot, because AutoKeras sorts labels as text: class 10 would come before class 2.
    one_hot = np.eye(dataset.classes, dtype=np.float32)
    # Without EarlyStopping and validation_data, AutoKeras trains the best model again at the end.
    early = keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", patience=PATIENCE)
    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore")  # AutoKeras warns about its own models
        try:
            search.fit(
                dataset.train.images,
                one_hot[dataset.train.labels],
                validation_data=(dataset.validation.images, one_hot[dataset.validation.labels]),
                epochs=budget.epochs,
                batch_size=BATCH,
                callbacks=[watch, early],
                verbose=0,
            )
        except _Stopped:
            if watch.failure is not None:
                raise watch.failure from None
        except Exception as error:
            # AutoKeras raises after too many failed trials in a row, or without a best one to save.
            trials = list(search.tuner.oracle.trials.values())
            if any(trial.status == "COMPLETED" for trial in trials):
                return
            reasons = [trial.message for trial in trials if trial.message]
            if not reasons and not isinstance(error, keras_tuner.errors.FailedTrialError):
                raise
            reason = (reasons or [str(error)])[-1].strip().splitlines()[-1]
            raise Unavailable(f"AutoKeras finished no trial: {reason}") from error


def _best_model(tuner: Any, *, budget: Budget) -> tuple[keras.Model, float | None, str]:
    """Return the best model with the weights of its best epoch, its score if its trial was finished, and a description
    of its blocks and of the trials that it was chosen from."""
    trials = list(tuner.oracle.trials.values())
    finished = [trial for trial in trials if trial.status == "COMPLETED"]
    if finished:
        best = max(finished, key=lambda trial: trial.score)
        score = float(best.score)
        words = f"{len(finished)} trials" if len(finished) != 1 else "1 trial"
        words += f" of {budget.trials}" if len(finished) < budget.trials else ""
    else:
        # The first trial's checkpoint is rewritten after each better epoch.
        started = [trial for trial in trials if Path(tuner._get_checkpoint_fname(trial.trial_id)).is_file()]
        if not started:
            raise Unavailable(
                f"AutoKeras finished no epoch within {budget.seconds:g} s; "
                "give the baselines more seconds or the target fewer images"
            )
        best, score, words = started[-1], None, "1 unfinished trial"
    block = best.hyperparameters.values[f"{_BLOCKS}/{BLOCK_TYPE}"]
    others = f" (of {', '.join(budget.blocks)})" if len(budget.blocks) > 1 else ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the optimizer of a rebuilt model has no state; no training follows
        return tuner.load_model(best), score, f"{block} blocks{others}, {words}"


def _plain_keras(searched: keras.Model, input_shape: tuple[int, int, int]) -> keras.Model:
    """Return the same layers without AutoKeras' casting layer, so that the file loads without AutoKeras."""
    cast = next(layer for layer in searched.layers if isinstance(layer, PreprocessingLayer))
    images = keras.Input(input_shape, name="images")
    return keras.Model(images, keras.Model(cast.output, searched.outputs[0])(images), name="autokeras")
