"""Use your own dataset and your own loss, and search its parameter together with T and alpha.

Type: python examples/own_data_and_loss.py
"""

from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from sklearn.datasets import load_digits

from sweeps import Sweep


def loss(labels: Any, teacher_logits: Any, student_logits: Any, *, temperature: Any, beta: float = 2.0) -> Any:
    """T^2 * KL(teacher_T || student_T), with images that the teacher gets right weighing beta times as much."""
    soft = ops.softmax(teacher_logits / temperature)
    log_ratio = ops.log_softmax(teacher_logits / temperature) - ops.log_softmax(student_logits / temperature)
    right = ops.cast(ops.equal(ops.argmax(teacher_logits, axis=-1), ops.cast(labels, "int32")), soft.dtype)
    return temperature**2 * ops.sum(soft * log_ratio, axis=-1) * (1 + (beta - 1) * right)


def write_data(path: Path) -> Path:
    """Write the digits of scikit-learn, upside down, as the four arrays of a dataset."""
    digits = load_digits()
    images, labels = (digits.images[:, ::-1] * 15).astype("uint8"), digits.target
    np.savez(path, x_train=images[:1400], y_train=labels[:1400], x_test=images[1400:], y_test=labels[1400:])
    return path


def main(storage: str | None = None, **changes: object) -> Sweep:
    """Search T, alpha and beta on that dataset, and print the best point and the verdict."""
    sweep = Sweep.create(
        "own-loss",
        dataset=write_data(Path("upside-down.npz")),
        preset="tiny",
        changes={
            "source.images": 1000,
            "training.distillation": "own_data_and_loss:loss",  # workers import this file by its name
            "search.space": {"beta": [1.0, 4.0]},
            "baselines.methods": [],
            **changes,
        },
        storage=storage,
    )
    sweep.run()
    print(sweep.best, sweep.best.more["beta"])
    print(sweep.verdict)
    return sweep


if __name__ == "__main__":
    main()
