"""kd.config: the values it refuses, and that importing it stays cheap."""

import math
import re
import subprocess
import sys

import pytest

from kd.config import DistillConfig, TrainingConfig


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf, None, "4"])
def test_temperature_must_be_finite_and_above_zero(temperature):
    with pytest.raises(ValueError, match="temperature must be finite and > 0, got"):
        DistillConfig(temperature=temperature, alpha=0.5)


@pytest.mark.parametrize("alpha", [-0.01, 1.01, math.nan, math.inf, None, "0.5"])
def test_alpha_must_be_a_fraction(alpha):
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], got"):
        DistillConfig(temperature=1.0, alpha=alpha)


@pytest.mark.parametrize("alpha", [0, 1.0])
def test_both_ends_of_alpha_are_allowed(alpha):
    assert DistillConfig(temperature=1, alpha=alpha).alpha == alpha


def test_own_parameters_are_kept_in_the_order_of_their_names_and_can_be_keys():
    config = DistillConfig(temperature=1, alpha=0, own=(("gamma", 2), ("beta", 1.5)))
    assert config.own == (("beta", 1.5), ("gamma", 2.0))
    same = DistillConfig(temperature=1, alpha=0, own=(("beta", 1.5), ("gamma", 2.0)))
    assert {config: 1}[same] == 1
    assert DistillConfig(temperature=1, alpha=0) != config
    assert DistillConfig(temperature=1, alpha=0).own == ()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "2", None])
def test_an_own_parameter_must_be_a_finite_number(value):
    with pytest.raises(ValueError, match=rf"^beta must be a finite number, got {value!r}$"):
        DistillConfig(temperature=1, alpha=0, own=(("beta", value),))


def test_own_parameters_are_pairs_that_name_each_once():
    with pytest.raises(ValueError, match=r"^own must be pairs \(name, value\), got \{'beta': 1.0\}: write tuple\("):
        DistillConfig(temperature=1, alpha=0, own={"beta": 1.0})
    for wrong in (None, "be", ("beta", 1.0), (("beta",),)):
        with pytest.raises(ValueError, match=r"^own must be pairs \(name, value\), got "):
            DistillConfig(temperature=1, alpha=0, own=wrong)
    with pytest.raises(ValueError, match=r"^own must name each parameter once, got "):
        DistillConfig(temperature=1, alpha=0, own=(("beta", 1.0), ("beta", 2.0)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number >= 1, got 1.5"),
        ({"epochs": True}, "epochs must be a whole number >= 1, got True"),
        ({"epochs": 1, "batch_size": -64}, "batch_size must be a whole number >= 1, got -64"),
        ({"epochs": 1, "learning_rate": 0.0}, "learning_rate must be finite and > 0, got 0.0"),
        ({"epochs": 1, "learning_rate": math.nan}, "learning_rate must be finite and > 0, got nan"),
    ],
)
def test_an_invalid_training_is_refused_with_its_value(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainingConfig(**wrong)


LIGHT = """
import sys
import kd.config, kd.errors
from kd.baselines.methods import METHODS
from kd.teachers.names import parse_teacher
from kd.losses import loss_named

parse_teacher("pretrained:MobileNetV2"), loss_named("dist")
heavy = {"keras", "tensorflow", "autokeras", "sklearn", "scipy", "pandas", "PIL", "optuna"}
assert not {*heavy, "numpy"} & set(sys.modules)
kd.fetch, kd.DataError, kd.load("digits")
assert not heavy & set(sys.modules)
"""


def test_names_configs_losses_and_generated_data_import_nothing_heavy():
    subprocess.run([sys.executable, "-W", "error", "-c", LIGHT], check=True)
