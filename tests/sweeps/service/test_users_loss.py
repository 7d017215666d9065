"""Losses of a spec: what create freezes of them, and what it refuses, in one line, before anything is written."""

from pathlib import Path

import pytest

from storage.url import resolve
from sweeps.distill.freeze import frozen_loss
from sweeps.distill.presets import PRESETS, on, preset
from sweeps.distill.space import search_space
from sweeps.distill.spec import formula
from sweeps.errors import SpecError
from sweeps.spec.model import Spec, override
from sweeps.usecases import create

ALONE = override(on(preset("tiny"), source="digits", alone=True), {"baselines.methods": []})

LOSSES = '''
from keras import ops


def absolute(labels, teacher_logits, student_logits, *, temperature, beta=2.0):
    """beta*|softmax(teacher/T) - softmax(student/T)|"""
    teacher, student = (ops.softmax(logits / temperature) for logits in (teacher_logits, student_logits))
    return beta * ops.sum(ops.abs(teacher - student), axis=-1)


def without_t(labels, teacher_logits, student_logits):
    return ops.mean((teacher_logits - student_logits) ** 2)


def needs_beta(labels, teacher_logits, student_logits, *, temperature, beta):
    return beta


def vector(labels, teacher_logits, student_logits):
    return (teacher_logits - student_logits) ** 2


def not_finite(labels, teacher_logits, student_logits):
    return ops.mean(ops.log(-ops.abs(student_logits) - 1), axis=-1)
'''


def with_loss(loss: str, **changes: object) -> Spec:
    """The spec with a loss."""
    return override(ALONE, {"training.distillation": loss, **changes})


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file of losses; its path."""
    path = tmp_path / "my_losses.py"
    path.write_text(LOSSES)
    return str(path)


def test_kd_leaves_a_spec_as_it_was() -> None:
    spec = create.resolve(ALONE)
    assert "distillation" not in spec.as_dict()["training"]
    assert create.resolve(with_loss("kd")).fingerprint == spec.fingerprint


def test_a_loss_without_t_is_searched_over_alpha_alone() -> None:
    spec = create.resolve(with_loss("mse"))
    assert spec.search.temperature == (1.0, 1.0)
    assert search_space(spec)["temperature"].at(0.7) == 1.0


@pytest.mark.parametrize("temperature", [[3, 3], [2, 8], [1, 30]])
def test_a_range_of_t_that_the_loss_does_not_use_is_refused(temperature: list[float]) -> None:
    with pytest.raises(
        SpecError, match=r"^search.temperature: got \[.*\], but loss mse does not use T; remove the"
    ) as one:
        create.resolve(with_loss("mse", **{"search.temperature": temperature}))
    assert "\n" not in str(one.value)
    assert create.resolve(with_loss("dkd", **{"search.temperature": temperature})).search.temperature == (*temperature,)


def test_no_preset_has_a_range_of_t_that_a_loss_without_t_would_refuse() -> None:
    for spec in PRESETS.values():
        alone = override(on(spec, source="digits", alone=True), {"training.distillation": "mse"})
        assert frozen_loss(alone, 10) == {"search.temperature": (1.0, 1.0)}
        assert frozen_loss(override(alone, frozen_loss(alone, 10)), 10) == {"search.temperature": (1.0, 1.0)}


def test_the_paper_s_point_is_an_arm_of_every_loss_but_kd() -> None:
    assert "default-paper" in with_loss("dkd").arms("source")
    assert "default-paper" not in ALONE.arms("source")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training.distillation": "dkdd"}, 'training.distillation: got "dkdd"; allowed: did you mean dkd? kd, mse,'),
        ({"search.space": {"gamma": [1, 2]}}, "search.space: got 'gamma', but loss kd has no such parameter"),
        ({"training.loss_parameters": {"gamma": 1}}, "training.loss_parameters: got 'gamma', but loss kd"),
        (
            {"training.distillation": "dkd", "search.space": {"gamma": [1, 2]}},
            "its own are target_weight, nontarget_",
        ),
    ],
)
def test_what_no_loss_has_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError) as error:
        override(ALONE, changes)
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["task", "cpu_s", "loss", "mean", "candidates", "paste", "test_accuracy"])
def test_a_searched_parameter_called_like_a_column_of_the_records_is_refused(name: str, file: str) -> None:
    with pytest.raises(
        SpecError, match=f"search.space: got '{name}', which the records .* such as {name}_weight"
    ) as one:
        create.resolve(with_loss(f"{file}:absolute", **{"search.space": {name: [1, 2]}}))
    assert "\n" not in str(one.value)


@pytest.mark.processes
@pytest.mark.slow
def test_a_file_s_loss_is_frozen_with_its_parameters_and_its_hash(file: str) -> None:
    spec = create.resolve(with_loss(f"{file}:absolute", **{"search.space": {"beta": [1, 4]}}))
    assert spec.training.loss_parameters == {"beta": 2.0}
    assert list(spec.code) == [file]
    assert formula(spec.training.distillation).endswith(f"term: {file}:absolute")
    assert create.resolve(spec) == spec
    assert create.resolve(with_loss(f"{file}:without_t")).search.temperature == (1.0, 1.0)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("function", "changes", "said"),
    [
        pytest.param("needs_beta", {}, "give beta a default, such as beta=1.0", marks=pytest.mark.slow),
        ("vector", {}, "mean over images yourself, or return one value per image"),
        pytest.param("not_finite", {}, "is not finite", marks=pytest.mark.slow),
        pytest.param("missing", {}, "has no attribute 'missing'", marks=pytest.mark.slow),
        ("absolute", {"search.space": {"gamma": [1, 2]}}, "search.space: got 'gamma', which loss"),
        pytest.param(
            "absolute",
            {"training.loss_parameters": {"gamma": 1}},
            "does not take; its parameters are beta",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_loss_that_cannot_be_trained_with_is_one_line_and_nothing_is_written(
    function: str, changes: dict[str, object], said: str, file: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as error:
        create.create_sweep(resolve(f"sqlite:///{tmp_path}/s.db"), "s", with_loss(f"{file}:{function}", **changes))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "s.db").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nothing.py:loss", "training.distillation: got './nothing.py:loss'; there is no file "),
        ("no_such_module:loss", "no module 'no_such_module' on this machine's Python path$"),
        ("my_losses:absolute", "no module 'my_losses' on .* path; a file of this folder is named ./my_losses.py:...$"),
    ],
)
def test_a_file_or_module_that_is_not_there_is_one_line(
    name: str, said: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(file).parent)
    with pytest.raises(SpecError, match=said):
        create.resolve(with_loss(name))
