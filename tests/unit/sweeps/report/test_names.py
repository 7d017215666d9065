"""The display names of datasets and arms: words that are short enough for a figure."""

from sweeps.distill.arms import AUTOKERAS, CONTROLS, SOURCE_ARMS, TARGET_ARMS
from sweeps.report import words
from sweeps.report.words import display_name
from tests.support.sweeps.presets import before


def arm(name: str, *, source: str, dataset: str) -> str:
    """Return the display name of an arm on a dataset, in a sweep from that source."""
    spec = before("tiny")
    named = spec.model_copy(update={"source": spec.source.model_copy(update={"dataset": source})})
    return words.arm(named, name, dataset)


def test_a_dataset_is_displayed_by_its_name_or_its_file() -> None:
    names = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits-rgb": "digits-rgb", "/a/b/mine.npz": "mine.npz"}
    names |= {"c:\\data\\mine.npz": "mine.npz", "/data/mnist": "MNIST"}
    names |= {"x" * 32: "x" * 32, "x" * 33: "x" * 29 + "..."}
    assert {dataset: display_name(dataset) for dataset in names} == names


def test_the_name_of_best_has_the_dataset_on_which_it_was_tuned() -> None:
    assert arm("best", source="mnist", dataset="cifar10") == "Tuned on MNIST"
    assert arm("native", source="mnist", dataset="cifar10") == "Tuned on CIFAR-10 itself"
    assert arm("best", source="mnist", dataset="mnist") == "Tuned on MNIST itself"
    assert arm("default-keras", source="mnist", dataset="mnist") == "Keras default, untuned"


def test_every_arm_has_a_different_display_name() -> None:
    arms = {*SOURCE_ARMS, *TARGET_ARMS, *CONTROLS, AUTOKERAS}
    names = {name: arm(name, source="a.npz", dataset="b{0}.npz") for name in arms}
    assert len(set(names.values())) == len(arms) == 11
    assert not set(names.values()) & arms


def test_a_dataset_can_be_named_like_a_placeholder() -> None:
    assert arm("native", source="{dataset}", dataset="{source}") == "Tuned on {source} itself"
