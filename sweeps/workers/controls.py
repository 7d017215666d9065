"""The scientific controls of transfer that replace the teacher's logits."""

import numpy as np
import numpy.typing as npt

from kd.teachers import logits_file

Logits = npt.NDArray[np.float32]


def taught_by(arm: str | None, logits: Logits, labels: npt.NDArray[np.int64], *, seed: int) -> Logits:
    """Return the logits that an arm learns from: the teacher's, or what a control puts in their place.

    Args:
        arm: None outside transfer.
        logits: of the teacher, (images, classes) or (views, images, classes).
        labels: (images,).
        seed: of the shuffle.
    """
    if arm == "class-mean":
        return logits_file.class_mean(logits, labels)
    if arm == "shuffled-within-class":
        return logits_file.shuffled_within_class(logits, labels, seed)
    return logits_file.uniform(logits) if arm == "label-smoothing" else logits
