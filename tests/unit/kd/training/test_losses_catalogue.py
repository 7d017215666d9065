"""The catalogue of losses, which a spec reads without Keras."""

import math

import pytest

from kd.config import LOSS_FORMULA
from kd.errors import ModelError
from kd.losses import loss_named
from kd.losses.builtin import LOSSES
from kd.losses.loss import is_users


def test_in_every_loss_alpha_weighs_the_labels():
    assert list(LOSSES) == ["kd", "mse", "logit-standardization", "dkd", "nkd", "dist"]
    assert LOSSES["kd"].formula == LOSS_FORMULA
    for name, loss in LOSSES.items():
        assert loss.name == name
        assert loss.formula.startswith("alpha*CE(labels) + (1-alpha)*")
        assert "arXiv:" in loss.source
        assert ("T^2" in loss.formula) == loss.uses_temperature


def test_every_default_can_be_trained_and_every_parameter_is_in_the_formula():
    for loss in LOSSES.values():
        assert 0 < loss.default_temperature < math.inf
        assert 0 <= loss.default_alpha < 1
        for parameter in loss.parameters:
            assert 0 < parameter.default < math.inf
            assert parameter.name in loss.formula


@pytest.mark.parametrize(("name", "close"), [("kdd", "kd"), ("logit_standardization", "logit-standardization")])
def test_an_unknown_loss_gets_a_suggestion_and_the_list(name, close):
    with pytest.raises(ModelError, match=rf"^no loss '{name}'; did you mean '{close}'\? Losses: kd, mse, .*, dist, or"):
        loss_named(name)


def test_a_loss_like_no_other_gets_no_suggestion():
    with pytest.raises(ModelError, match=r"^no loss 'hinge'\. Losses: kd, mse"):
        loss_named("hinge")


def test_a_loss_named_by_its_code_is_the_users():
    assert not is_users("kd")
    assert is_users("./mine.py:loss")


def test_own_parameters_are_the_given_ones_or_their_defaults():
    dkd = loss_named("dkd")
    assert dkd.values({}) == {"target_weight": 1.0, "nontarget_weight": 8.0}
    assert dkd.values({"nontarget_weight": 2}) == {"target_weight": 1.0, "nontarget_weight": 2.0}
    with pytest.raises(ValueError, match=r"^loss 'dkd' has no parameter 'beta'; it has target_weight, nontarget_"):
        dkd.values({"beta": 2.0})
    with pytest.raises(ValueError, match=r"^loss 'kd' has no parameter 'beta'; it has only T and alpha$"):
        loss_named("kd").values({"beta": 2.0})
    with pytest.raises(ValueError, match=r"^target_weight must be finite, got nan$"):
        dkd.values({"target_weight": math.nan})
