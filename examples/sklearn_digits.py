"""Distil a forest into a softmax regression on scikit-learn's digits. No Keras: pip install '.[train,report]'.

kd-sweeps run digits --train ./sklearn_digits.py:train --space temperature=1.0:20.0:log --space alpha=0.0:1.0 \
    --set trainer.untreated.alpha=1.0 --set 'trainer.defaults.default={temperature=4.0, alpha=0.5}'
"""

import pickle

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

TRAIN, VALIDATION, TEST = slice(0, 600), slice(600, 1200), slice(1200, 1797)


def images(dataset, part):
    pixels, labels = load_digits(return_X_y=True)
    return (1 - pixels / 16 if dataset == "negative" else pixels / 16)[part], labels[part]


def train(temperature, alpha, *, seed, dataset, folder, report):
    """Train one student: alpha weighs the labels, 1 - alpha the forest's probabilities at a temperature."""
    x, y = images(dataset, TRAIN)
    few = np.random.default_rng(seed).choice(len(y), 120, replace=False)
    teacher = RandomForestClassifier(30, random_state=0).fit(x, y)
    report(0.5)  # half done; with validation=... a point of the curve
    soft = teacher.predict_proba(x[few]).clip(1e-3) ** (1 / temperature)
    target = alpha * np.eye(10)[y[few]] + (1 - alpha) * soft / soft.sum(axis=1, keepdims=True)
    # Each image is repeated for every class, weighed by the target's probability.
    student = LogisticRegression(max_iter=60, tol=1e-2)
    student.fit(np.repeat(x[few], 10, axis=0), np.tile(np.arange(10), len(few)), sample_weight=target.ravel())
    (folder / "student").write_bytes(pickle.dumps(student))
    agreement = np.mean(student.predict(x) == teacher.predict(x))
    return {
        "validation": student.score(*images(dataset, VALIDATION)),
        "size": student.coef_.nbytes,
        "agreement": agreement,
    }


def test(*, dataset, folder):
    """Score the student that was just trained; called in the comparison only."""
    return pickle.loads((folder / "student").read_bytes()).score(*images(dataset, TEST))
