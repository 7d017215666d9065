"""The options --train, --train-command and --space, and which of them a service accepts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from sweeps.cli.options import space_of
from sweeps.contrib.server.problems import check_allowed
from sweeps.custom.presets import start
from sweeps.custom.spec import CustomSpec
from sweeps.distill.presets import preset
from sweeps.errors import NotAllowed, SpecError
from sweeps.spec.model import Spec
from sweeps.usecases.create import SpecRequest
from tests.support.custom.specs import SPACE, spec

Commands: TypeAlias = Callable[..., tuple[int, str, str]]
ALPHA = {"trainer.untreated.alpha": 1.0}
OWN: dict[str, Any] = {"train": "./train.py:train", "space": {"alpha": [0.0, 1.0]}, "changes": ALPHA}


def own_spec(**options: Any) -> Spec:
    return SpecRequest(**{**OWN, **options}).spec()


def test_everything_not_given_is_as_in_preset_quick() -> None:
    custom, quick = own_spec(), preset("quick")
    assert isinstance(custom, CustomSpec)
    assert (custom.confirm, custom.outer) == (quick.confirm, quick.outer)
    assert (custom.search.trials, custom.search.sampler) == (quick.search.trials, quick.search.sampler)
    assert (custom.transfer.seeds, custom.transfer.margin_share) == (quick.transfer.seeds, quick.transfer.margin_share)
    assert [custom.role(role).dataset for role in custom.roles] == ["data"]


def test_datasets_can_have_any_name() -> None:
    two_targets = own_spec(source="small", targets=["large", "huge"])
    assert [two_targets.role(role).dataset for role in two_targets.roles] == ["small", "large", "huge"]
    one_target = SpecRequest(base=two_targets, dataset="other").spec()
    assert [one_target.role(role).dataset for role in one_target.roles] == ["other"]


def test_the_training_of_a_spec_can_be_replaced() -> None:
    custom = SpecRequest(base=own_spec(), command="./train.sh {alpha}").spec()
    assert isinstance(custom, CustomSpec)
    assert (custom.trainer.train, custom.trainer.command) == ("", "./train.sh {alpha}")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no space": ({"space": {}}, "nothing to search: give --space NAME=LOW:HIGH"),
    "both": ({"command": "true"}, "got --train and --train-command; give one of them"),
    "a teacher": (
        {"teacher": "cnn-small"},
        "--teacher: got 'cnn-small'; trainer custom has no such setting, so leave it out",
    ),
    "a student": ({"student": "cnn-small"}, "--student: got 'cnn-small'; trainer custom has no such setting"),
    "epochs": ({"epochs": 3}, "--epochs: got 3; trainer custom has no such setting"),
    "a size": ({"size": (32, 32)}, "--size: got (32, 32); trainer custom has no such setting"),
    "one and two": ({"dataset": "a", "targets": ["b"]}, "leave out --dataset or --target"),
    "too many": ({"targets": list("abcd")}, "--target: got 4 of them; allowed: at most 3"),
    "another trainer": ({"base": preset("tiny")}, "--train makes a sweep of the trainer custom; the spec has kd"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_conflicting_options_give_a_one_line_error(case: str) -> None:
    options, text = REFUSED[case]
    with pytest.raises(SpecError) as error:
        own_spec(**options)
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_every_spelling_of_a_space_on_the_command_line() -> None:
    assert space_of(["t=1.0:20.0:log", "n=1:9", "a=0:1.0", "o=adam,no decay", "w=8, 16", "f=true,False"]) == {
        "t": {"low": 1.0, "high": 20.0, "log": True},
        "n": {"low": 1, "high": 9},
        "a": {"low": 0, "high": 1.0},
        "o": {"choices": ["adam", "no decay"]},
        "w": {"choices": [8, 16]},
        "f": {"choices": [True, False]},
    }


@pytest.mark.parametrize(
    "text", ["t", "t=", "=1:2", "t=1", "t=1:b", "t=1:2:ln", "t=1:2:log:3", "t=a:b", "t=[0,1]", "t='a','b'"]
)
def test_any_other_spelling_of_a_space_gives_a_one_line_error(text: str) -> None:
    with pytest.raises(SpecError, match=r"^--space: got .*; write NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=a,b,c"):
        space_of([text])


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="--space: got t twice"):
        space_of(["t=1:9", "t=1:8"])


def test_create_refuses_a_parameter_named_like_a_column_of_the_records(tmp_path: Path, kd_sweeps: Commands) -> None:
    options = ["--train-command", "true", "--space", "loss=0.0:1.0", "--set", "trainer.untreated.loss=1.0"]
    code, _, err = kd_sweeps("create", "s", *options)
    assert code == 2
    assert "trainer.space: got 'loss', which is a column in the records of a sweep; give this" in err


def test_a_plan_gives_no_duration(tmp_path: Path, kd_sweeps: Commands) -> None:
    options = ["--train-command", "true {depth}", "--space", "depth=0:9", "--set", "transfer.margin=1"]
    code, out, err = kd_sweeps("create", "s", *options, "--dataset", "mine", "--dry-run")
    assert code == 0, err
    assert "search   depth 0 to 9 in whole numbers: 6 trials, 8 searches\n" in out
    assert "data     mine\n" in out
    assert "trains   true, no test: the comparison scores validation\n" in out
    assert "work     88 trainings\n" in out


def test_a_starting_spec_needs_a_numeric_argument() -> None:
    with pytest.raises(SpecError, match="has no numeric argument, so there is nothing to search"):
        start("./train.py:train", {"optimizer": "adam"})


@pytest.mark.parametrize("trainer", [{"command": "./train.sh"}, {"train": "./train.py:train"}, {"train": "mine:train"}])
def test_a_service_refuses_programs_and_files_of_a_request(trainer: dict[str, str]) -> None:
    with pytest.raises(NotAllowed):
        check_allowed(spec(trainer | {"space": SPACE}), allow_code=False)
    if trainer.get("train") == "mine:train":
        check_allowed(spec(trainer), allow_code=True)
    else:
        with pytest.raises(NotAllowed, match=r"no request (starts a program|names a file) on the server"):
            check_allowed(spec(trainer), allow_code=True)
