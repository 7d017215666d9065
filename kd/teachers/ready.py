"""Use a comparison method's model as the teacher: compute its logits of the training images."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kd import baselines
from kd.config import TeacherResult, TrainResult
from kd.data.augmentation import checked_views, view
from kd.data.datasets import Dataset
from kd.models.keras_files import with_logits

__all__ = ["teach_with", "teacher_logits"]

BATCH = 256  # images


def teach_with(
    method: str,
    dataset: Dataset,
    *,
    budget: baselines.Budget,
    seed: int,
    work_dir: Path,
    on_progress: baselines.Progress | None = None,
    views: int = 1,
) -> TeacherResult:
    """Fit a comparison method and return its model as the teacher, with its logits of the training images.

    The method is fitted to the unaugmented images; only the logits are computed for every view.

    Args:
        method: a key of `kd.baselines.METHODS`, such as `kd.teachers.names.parse_teacher` gives.
        dataset, budget, seed, work_dir, on_progress: see `kd.baselines.fit`.
        views: how many augmented versions of each image the students will see, see `kd.data.augmentation`.

    Returns:
        The teacher. Its seconds include the logits; it has one validation accuracy, the model's, instead of one per
        epoch.

    Raises:
        ModelError, Unavailable: see `kd.baselines.fit`.
        ValueError: seed out of range, or views is no whole number >= 1.
    """
    on_progress = on_progress or (lambda fraction, text: None)
    share = 1 / (1 + checked_views(views))  # of the time: all images go through the model once more for each view
    found = baselines.fit(
        method,
        dataset,
        budget=budget,
        seed=seed,
        work_dir=work_dir,
        on_progress=lambda fraction, text: on_progress(share * fraction, text),
    )
    wall, cpu = time.perf_counter(), time.process_time()
    logits = teacher_logits(
        found.model,
        dataset.train.images,
        views=views,
        on_progress=lambda fraction, text: on_progress(share + (1 - share) * fraction, text),
    )
    result = TrainResult(
        val_accuracy=found.val_accuracy,
        epoch_val_accuracy=(found.val_accuracy,),
        parameters=found.parameters,
        train_images=found.train_images,
        train_s=found.train_s + time.perf_counter() - wall,
        cpu_s=found.cpu_s + time.process_time() - cpu,
        seed=seed,
    )
    return TeacherResult(result=result, logits=logits, model=found.model, provenance=found.provenance)


def teacher_logits(
    model: bytes, images: npt.NDArray[np.uint8], *, views: int = 1, on_progress: baselines.Progress | None = None
) -> npt.NDArray[np.float32]:
    """Return the logits of a .keras file's model for images, before a final softmax or sigmoid.

    Args:
        model: bytes of the file; takes images in 0..255, returns one output per class.
        images: uint8, shape (n, h, w, c).
        views: as for `teach_with`.
        on_progress: called with (fraction, text) after each batch.

    Returns:
        float32, shape (n, classes); with more than one view (views, n, classes).

    Raises:
        ModelError: the file cannot be loaded.
        ValueError: views is no whole number >= 1.
    """
    network = with_logits(model)
    firsts = range(0, len(images), BATCH)
    said = []
    for number in range(checked_views(views)):
        seen = view(images, number)
        parts = []
        for first in firsts:
            parts.append(network.predict_on_batch(seen[first : first + BATCH]))
            if on_progress is not None:
                fraction = (number + (first + len(parts[-1])) / len(images)) / views
                on_progress(fraction, f"logits of view {number + 1} of {views}")
        said.append(np.concatenate(parts))
    return said[0] if views == 1 else np.stack(said)
