"""What things are called on a page: datasets and arms, in words that need no explanation."""

import re

from sweeps.spec.arms import AUTOKERAS_ARM, SCALED
from sweeps.spec.model import Spec

_DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}

_ARMS = {
    "best": "Tuned on {source}",
    SCALED: "The same, T scaled to the teacher",
    "native": "Tuned on {dataset} itself",
    "scratch": "No distillation",
    "scratch-tuned": "No distillation, trained as best",
    "default-keras": "Keras default, untuned",
    "default-paper": "The loss's paper, untuned",
    "default-keras-io": "keras.io example, untuned",
    "random": "Random T and α",
    "class-mean": "Class means of the logits",
    "shuffled-within-class": "Logits shuffled in a class",
    "label-smoothing": "Label smoothing, no teacher",
    "scratch-same-cost": "No teacher, same cost",
    AUTOKERAS_ARM: "AutoKeras' network",
}


def called(dataset: str) -> str:
    """Return what a dataset is called in a sentence or a title: of a path, the file's name."""
    name = re.split(r"[/\\]", dataset)[-1]
    return _DATASETS.get(name, name if len(name) <= 32 else f"{name[:29]}...")


def owner(default: str | None) -> str:
    """Return whose an untuned default is, for a sentence; None: before one was trained."""
    return "keras.io's" if default == "default-keras-io" else "Keras'"


def searched(spec: Spec) -> str:
    """Return what a search tuned, for a sentence: "T and α", or "T, α and learning_rate"."""
    names = ["T", "α", *spec.search.space]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def arm(name: str, *, source: str, dataset: str) -> str:
    """Return what an arm is called on a dataset; source: where best was tuned. Both as the spec names them."""
    words = _ARMS["native" if name == "best" and source == dataset else name]
    return words.format(source=called(source), dataset=called(dataset))
