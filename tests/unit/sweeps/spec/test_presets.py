"""Presets on other datasets, and the options that become a spec."""

from pathlib import Path

import pytest

from sweeps.distill.presets import PRESETS, on, preset
from sweeps.errors import SpecError
from sweeps.spec.model import override
from sweeps.trainers.protocol import Point
from sweeps.usecases.create import SpecRequest
from tests.support.points import at


@pytest.mark.parametrize("name", PRESETS)
def test_without_other_datasets_a_spec_is_unchanged_and_source_and_target_can_be_swapped(name: str) -> None:
    spec = preset(name)
    assert on(spec) == on(spec, source=spec.source.dataset, targets=[spec.target.dataset]) == spec
    swapped = on(spec, source=spec.target.dataset, targets=[spec.source.dataset])
    assert (swapped.source, swapped.target) == (spec.target, spec.source)
    assert on(swapped, source=spec.source.dataset, targets=[spec.target.dataset]) == spec


def test_several_targets_keep_their_order_and_their_settings() -> None:
    quick, tiny = preset("quick"), preset("tiny")
    spec = on(quick, targets=["digits-rgb", "cifar10", "digits"])
    assert spec.targets == ("target", "target2", "target3")
    assert (spec.target, spec.target2, spec.target3) == (tiny.target, quick.target, tiny.source)
    assert spec.source == quick.source
    assert on(spec, targets=["cifar10"]) == quick, "new targets replace the old ones"


def test_the_spec_of_a_dataset_wins_over_a_preset() -> None:
    spec = override(preset("full"), {"source.images": 999, "source.content_hash": "abc"})
    swapped = on(spec, source="cifar10", targets=["mnist"])
    assert (swapped.target.images, swapped.target.content_hash) == (999, "abc")
    assert swapped.source == preset("full").target


def test_an_unknown_dataset_keeps_the_settings_of_the_role_but_not_the_content() -> None:
    spec = override(preset("quick"), {"target.content_hash": "abc", "target.epochs": 9})
    new_spec = on(spec, targets=["mine.npz", "cifar10"])
    assert new_spec.target == spec.target.model_copy(update={"dataset": "mine.npz", "content_hash": "", "images": 0})
    assert new_spec.target2 == spec.target


def test_a_repeated_dataset_and_too_many_targets_are_refused() -> None:
    with pytest.raises(SpecError, match=r"source\.dataset and target\.dataset must differ"):
        on(preset("quick"), source="cifar10")
    with pytest.raises(SpecError, match=r"--target: got 4 of them; allowed: at most 3"):
        SpecRequest(targets=["digits", "digits-rgb", "cifar10", "mine.npz"]).spec()


def test_a_request_is_empty_until_it_has_an_option() -> None:
    assert SpecRequest().is_empty
    assert SpecRequest().spec() == preset("quick")
    assert not any(
        request.is_empty
        for request in (SpecRequest(preset("quick")), SpecRequest(targets=["digits"]), SpecRequest(student="mlp"))
    )


def test_models_apply_to_every_dataset_and_a_key_overrides_them() -> None:
    request = SpecRequest(
        preset("tiny"), {"target.teacher": "mlp-800"}, "digits-rgb", ["digits"], "cnn-small", "mlp-800"
    )
    spec = request.spec()
    placed = on(preset("tiny"), source="digits-rgb", targets=["digits"])
    assert [spec.role(role).dataset for role in spec.roles] == [placed.role(role).dataset for role in placed.roles]
    assert (spec.source.teacher, spec.target.teacher) == ("cnn-small", "mlp-800")
    assert {spec.role(role).student for role in spec.roles} == {"mlp-800"}


def test_epochs_apply_to_every_student_and_a_key_overrides_them() -> None:
    spec = SpecRequest(preset("quick"), {"target.epochs": 5}, epochs=3, trials=4, seed=0).spec()
    assert (spec.source.epochs, spec.target.epochs, spec.search.trials, spec.seed) == (3, 5, 4, 0)
    assert not SpecRequest(seed=0).is_empty


def test_a_size_applies_to_every_folder_of_images(tmp_path: Path) -> None:
    spec = SpecRequest(preset("quick"), targets=[str(tmp_path)], size=(24, 32)).spec()
    assert (spec.source.size, spec.target.size) == ((), (24, 32))
    with pytest.raises(SpecError, match="--size: got 24x32; only a folder of images takes a size"):
        SpecRequest(preset("quick"), size=(24, 32)).spec()


def test_a_dataset_given_twice_is_refused() -> None:
    for request in (
        SpecRequest(None, {"source.dataset": "mnist"}, dataset="digits"),
        SpecRequest(None, {"source.dataset": "mnist"}, "digits"),
    ):
        with pytest.raises(SpecError, match=r"source.dataset: got 'digits' and, by --set, 'mnist'; give one of them"):
            request.spec()
    with pytest.raises(SpecError, match=r"target2.dataset: got 'cifar10'"):
        SpecRequest(None, {"target2.dataset": "mnist"}, targets=["digits", "cifar10"]).spec()
    assert SpecRequest(None, {"source.dataset": "digits"}, "digits").spec().source.dataset == "digits"


def test_further_parameters_of_a_point_are_stored_apart_in_a_fixed_order() -> None:
    point = Point.of({"learning_rate": 0.004, "temperature": 4.0, "epochs": 12, "alpha": 0.25})
    assert point == Point.of({"alpha": 0.25, "epochs": 12, "temperature": 4.0, "learning_rate": 0.004})
    assert point.as_json() == {"temperature": 4.0, "alpha": 0.25, "more": {"epochs": 12, "learning_rate": 0.004}}
    assert Point.read(point.as_json() | {"rank": 1}) == point
    assert point.text() == "T = 4, alpha = 0.25, epochs = 12, learning_rate = 0.004"
    assert at(6.795, 0.72387).text() == "T = 6.79, alpha = 0.724"


def test_one_dataset_alone_is_compared_with_the_defaults_in_every_search() -> None:
    spec = SpecRequest(dataset="mnist").spec()
    further = ("best", "scratch-own", "default-keras-io", "default-keras")
    assert [spec.arms("source", group) for group in spec.groups[1:]] == [further] * 7
    assert set(spec.arms("source")) == {*further, "scratch"}
    assert preset("quick").transfer.source_arms == ("best", "scratch"), (
        "with a target, the defaults are trained on the target"
    )
