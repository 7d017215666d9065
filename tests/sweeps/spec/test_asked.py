"""What a user asks for becomes one spec: datasets first, then models; a model by its key has the last word."""

import pytest

from sweeps.distill.presets import SpecRequest, on, preset
from sweeps.errors import SpecError


def test_nothing_is_asked_for_until_something_is() -> None:
    assert SpecRequest().is_nothing
    assert SpecRequest().spec() == preset("quick")
    assert not any(
        one.is_nothing
        for one in (SpecRequest(preset("quick")), SpecRequest(targets=["digits"]), SpecRequest(student="mlp"))
    )


def test_models_are_those_of_every_dataset_and_a_key_says_more() -> None:
    asked = SpecRequest(preset("tiny"), {"target.teacher": "mlp-800"}, "digits-rgb", ["digits"], "cnn-small", "mlp-800")
    made = asked.spec()
    placed = on(preset("tiny"), source="digits-rgb", targets=["digits"])
    assert [made.role(role).dataset for role in made.roles] == [placed.role(role).dataset for role in placed.roles]
    assert (made.source.teacher, made.target.teacher) == ("cnn-small", "mlp-800")
    assert {made.role(role).student for role in made.roles} == {"mlp-800"}


def test_a_dataset_that_is_named_twice_is_refused() -> None:
    for asked in (
        SpecRequest(None, {"source.dataset": "mnist"}, dataset="digits"),
        SpecRequest(None, {"source.dataset": "mnist"}, "digits"),
    ):
        with pytest.raises(SpecError, match=r"source.dataset: got 'digits' and, by --set, 'mnist'; give one of them"):
            asked.spec()
    with pytest.raises(SpecError, match=r"target2.dataset: got 'cifar10'"):
        SpecRequest(None, {"target2.dataset": "mnist"}, targets=["digits", "cifar10"]).spec()
    assert SpecRequest(None, {"source.dataset": "digits"}, "digits").spec().source.dataset == "digits"
