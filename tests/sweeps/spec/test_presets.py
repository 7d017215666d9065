"""The presets, and a spec on other datasets: those that a preset knows bring their settings along."""

import pytest

from sweeps.distill.presets import PRESETS, on, preset
from sweeps.errors import SpecError
from sweeps.spec.model import override


@pytest.mark.parametrize("name", PRESETS)
def test_without_other_datasets_a_spec_stays_as_it_is(name: str) -> None:
    spec = preset(name)
    assert on(spec) == on(spec, source=spec.source.dataset, targets=[spec.target.dataset]) == spec


@pytest.mark.parametrize("name", PRESETS)
def test_source_and_target_swap_with_all_that_belongs_to_them(name: str) -> None:
    spec = preset(name)
    swapped = on(spec, source=spec.target.dataset, targets=[spec.source.dataset])
    assert (swapped.source, swapped.target) == (spec.target, spec.source)
    assert on(swapped, source=spec.source.dataset, targets=[spec.target.dataset]) == spec


def test_several_targets_keep_their_order_and_their_settings() -> None:
    quick, tiny = preset("quick"), preset("tiny")
    spec = on(quick, targets=["digits-rgb", "cifar10", "digits"])
    assert spec.targets == ("target", "target2", "target3")
    assert (spec.target, spec.target2, spec.target3) == (tiny.target, quick.target, tiny.source)
    assert spec.source == quick.source
    assert on(spec, targets=["cifar10"]) == quick, "targets replace those that were there"


def test_what_a_spec_says_of_a_dataset_comes_before_a_preset() -> None:
    spec = override(preset("full"), {"source.images": 999, "source.content_hash": "abc"})
    swapped = on(spec, source="cifar10", targets=["mnist"])
    assert (swapped.target.images, swapped.target.content_hash) == (999, "abc")
    assert swapped.source == preset("full").target


def test_a_dataset_that_nobody_knows_keeps_the_settings_of_the_role_but_not_the_content() -> None:
    spec = override(preset("quick"), {"target.content_hash": "abc", "target.epochs": 9})
    found = on(spec, targets=["mine.npz", "cifar10"])
    assert found.target == spec.target.model_copy(update={"dataset": "mine.npz", "content_hash": "", "images": 0})
    assert found.target2 == spec.target


def test_a_dataset_twice_or_too_many_are_one_line() -> None:
    with pytest.raises(SpecError, match=r"source\.dataset and target\.dataset must differ"):
        on(preset("quick"), source="cifar10")
    with pytest.raises(SpecError, match=r"--target: got 4 of them; allowed: at most 3"):
        on(preset("quick"), targets=["digits", "digits-rgb", "cifar10", "mine.npz"])
