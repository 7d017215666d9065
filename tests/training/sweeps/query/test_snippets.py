"""The code of `best` runs unchanged, and in kd, Keras and PyTorch is the searched loss."""

import sys
from types import ModuleType
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from sweeps.distill.snippets import snippets
from sweeps.trainers.protocol import Point
from tests.support.points import at

POINTS = [(1.0, 0.5), (6.803452110290527, 0.7241379310344828), (20.0, 0.1), (4.0, 0.0), (2.5, 1.0)]
CLASSES = 10
TUNED = {"learning_rate": 0.0086, "epochs": 2, "batch_size": 64}

Array = npt.NDArray[np.float64]


def _softmax(logits: Array, axis: int = -1) -> Array:
    odds = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return odds / odds.sum(axis=axis, keepdims=True)


def _formula(labels: Any, teacher: Any, student: Any, temperature: float, alpha: float) -> float:
    """alpha*CE(labels) + (1-alpha)*T^2*KL(teacher_T || student_T), term by term in float64."""
    teacher, student = np.asarray(teacher, np.float64), np.asarray(student, np.float64)
    p, q = _softmax(teacher / temperature), _softmax(student / temperature)
    cross_entropy = -np.log(_softmax(student)[np.arange(len(labels)), labels]).mean()
    divergence = (p * np.log(p / q)).sum(axis=-1).mean()
    return float(alpha * cross_entropy + (1 - alpha) * temperature**2 * divergence)


def _models(seed: int) -> dict[str, keras.Model]:
    """Return a teacher and a student that give logits; the same seed gives the same ones."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return {
        name: keras.Sequential([keras.Input((16,)), layers.Dense(width, "relu"), layers.Dense(CLASSES)], name=name)
        for name, width in (("teacher", 64), ("student", 8))
    }


def _images_and_labels(count: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    return 2 * rng.normal(size=(count, 16)).astype(np.float32), rng.integers(0, CLASSES, count)


def _pasted(temperature: float, alpha: float) -> dict[str, str]:
    return snippets(at(temperature, alpha), loss="kd", own={})


def _run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(code, names)
    return names


def test_the_pasted_distillers_have_the_loss_of_the_search() -> None:
    images, labels = _images_and_labels(256)
    models = _models(seed=1)
    teacher, student = (np.asarray(models[name](images)) for name in ("teacher", "student"))
    assert min(_softmax(teacher).min(), _softmax(student).min()) > 1e-7  # where Keras does not clip
    for temperature, alpha in POINTS:
        for library in ("kd", "keras"):
            distiller = _run(_pasted(temperature, alpha)[library], dict(models))["distiller"]
            value = float(distiller.compute_loss(images, labels, student, training=False))
            assert value == pytest.approx(_formula(labels, teacher, student, temperature, alpha), rel=1e-5), library


def test_both_pasted_trainings_are_the_tuned_one_and_train_the_same_student() -> None:
    images, labels = _images_and_labels(256)
    pasted = snippets(Point.of({"temperature": 6.8, "alpha": 0.72, **TUNED}), loss="kd", own={})
    weights = {}
    for library in ("kd", "keras"):
        models = _models(seed=2)
        before = models["student"].get_weights()
        distiller = _run(pasted[library], {**models, "images": images, "labels": labels})["distiller"]
        assert float(distiller.optimizer.learning_rate) == pytest.approx(0.0086)
        assert int(distiller.optimizer.iterations) == 2 * 256 // 64
        assert max(map(len, pasted[library].splitlines())) <= 120
        weights[library] = models["student"].get_weights()
        assert all(np.abs(new - old).max() > 0.01 for new, old in zip(weights[library], before, strict=True))
    for ours, theirs in zip(weights["kd"], weights["keras"], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_comments_about_keras_default_loss_and_its_clipping_are_true() -> None:
    rng = np.random.default_rng(3)
    teacher, student = (3 * rng.normal(size=(64, CLASSES)) for _ in range(2))
    distillation, divergence = keras.distillation.LogitsDistillation, keras.losses.KLDivergence()
    expected = _formula(np.zeros(64, int), teacher, student, 4.0, alpha=0.0)
    assert float(distillation(4.0, divergence).compute_loss(teacher, student)) == pytest.approx(expected, rel=1e-5)
    for default in (distillation(4.0), distillation(4.0, "kl_divergence")):
        assert float(default.compute_loss(teacher, student)) > 2 * expected
    sure, wrong = np.array([[20.0, 0.0]]), np.array([[0.0, 20.0]])  # the student gives the teacher's class 2e-9
    clipped = float(distillation(1.0, divergence).compute_loss(sure, wrong))
    assert clipped == pytest.approx(-np.log(1e-7), rel=1e-3)
    assert _formula([0], sure, wrong, 1.0, alpha=0.0) == pytest.approx(20.0, rel=1e-3)


def _functional() -> ModuleType:
    """Return torch.nn.functional's four functions in NumPy, as documented: torch is no dependency."""

    def log_softmax(logits: Array, dim: int) -> Array:
        return np.log(_softmax(logits, axis=dim))

    def kl_div(log_input: Array, target: Array, reduction: str) -> float:
        assert reduction == "batchmean"
        return float((target * (np.log(target) - log_input)).sum() / len(log_input))

    def cross_entropy(logits: Array, labels: npt.NDArray[np.int64]) -> float:
        return float(-log_softmax(logits, dim=1)[np.arange(len(labels)), labels].mean())

    module = ModuleType("torch.nn.functional")
    vars(module).update(log_softmax=log_softmax, kl_div=kl_div, cross_entropy=cross_entropy)
    vars(module)["softmax"] = lambda logits, dim: _softmax(logits, axis=dim)
    return module


@pytest.mark.parametrize(("temperature", "alpha"), POINTS)
def test_the_pytorch_form_is_the_same_loss_with_one_minus_alpha(
    monkeypatch: pytest.MonkeyPatch, temperature: float, alpha: float
) -> None:
    functional = _functional()
    torch, nn = ModuleType("torch"), ModuleType("torch.nn")
    vars(torch)["nn"], vars(nn)["functional"] = nn, functional
    for module in (torch, nn, functional):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    rng = np.random.default_rng(4)
    teacher, student = (3 * rng.normal(size=(128, CLASSES)) for _ in range(2))
    labels = rng.integers(0, CLASSES, 128)
    names: dict[str, Any] = {"student_logits": student, "teacher_logits": teacher, "labels": labels}
    names = _run(_pasted(temperature, alpha)["pytorch"], names)
    assert names["loss"] == pytest.approx(_formula(labels, teacher, student, temperature, alpha), rel=1e-12)
    assert (names["T"], names["alpha"]) == (temperature, 1 - alpha)


@pytest.mark.parametrize("library", ["kd", "keras", "pytorch", "timm", "torchdistill", "modelopt"])
def test_every_digit_is_pasted_and_no_line_is_too_long(library: str) -> None:
    code = _pasted(6.803452110290527, 0.7241379310344828)[library]
    assert "6.803452110290527" in code
    assert "0.7241379310344828" in code
    assert max(map(len, code.splitlines())) <= 120


def test_what_a_library_cannot_express_is_a_comment() -> None:
    pasted = _pasted(4.0, 0.25)
    assert pasted["trl"] == "# TRL: not this point; it trains on the teacher alone, alpha = 0, and here alpha is 0.25"
    assert "kd_loss_weight=0.75" in pasted["modelopt"]
    assert "--smoothing 0" in pasted["timm"]
    alone = _pasted(4.0, 0.0)
    assert "DistillationConfig(temperature=4.0, beta=0.0)" in alone["trl"]
    for library in ("trl", "torchdistill"):
        assert "T^2" in alone[library]
    assert "T^2" not in pasted["torchdistill"]
    for source in (*pasted.values(), *alone.values()):
        compile(source, "pasted", "exec")
        assert max(map(len, source.splitlines())) <= 120


def test_another_loss_is_pasted_with_its_own_parameters_and_for_kd_alone() -> None:
    point = Point.of({"temperature": 4.0, "alpha": 0.25, "epochs": 1, "nontarget_weight": 6.5})
    pasted = snippets(point, loss="dkd", own={"target_weight": 2.0})
    assert list(pasted) == ["kd"]
    assert pasted["kd"].startswith("# tuned with epochs=1\n")
    images, labels = _images_and_labels(64)
    distiller = _run(pasted["kd"], {**_models(seed=3), "images": images, "labels": labels})["distiller"]
    values = {name: float(variable) for name, variable in distiller.own.items()}
    assert values == {"target_weight": 2.0, "nontarget_weight": 6.5}
    assert float(distiller.temperature) == 4.0


@pytest.mark.parametrize(
    ("tuned", "kd", "pytorch"),
    [
        ({}, ['compile("adam", metrics=["accuracy"])'], ["import torch.nn.functional as F\n\nT, alpha = 4.0, 0.75\n"]),
        (
            TUNED,
            [
                "import keras",
                "optimizer = keras.optimizers.Adam(0.0086)\n",
                "distiller.fit(images, labels, batch_size=64, epochs=2)",
            ],
            ["import torch\n", "Adam(student.parameters(), lr=0.0086, eps=1e-7)", "batch_size=64", "epochs = 2"],
        ),
        ({"epochs": 12}, ['compile("adam"', "distiller.fit(images, labels, epochs=12)"], ["epochs = 12\n"]),
        ({"batch_size": 32}, ["distiller.fit(images, labels, batch_size=32)"], ["import torch\n", "batch_size=32"]),
    ],
)
def test_untuned_parameters_of_the_training_are_not_pasted(
    tuned: dict[str, float], kd: list[str], pytorch: list[str]
) -> None:
    pasted = snippets(Point.of({"temperature": 4.0, "alpha": 0.25, **tuned}), loss="kd", own={})
    for library, parts in (("kd", kd), ("pytorch", pytorch)):
        body = pasted[library].split("\n", 1)[1]  # without the comment that says what was tuned
        compile(body, library, "exec")
        assert [part for part in parts if part not in body] == []
        assert [name for name in ("epochs", "batch_size") if name not in tuned and name in body] == []
        assert ("optim" in body) == ("learning_rate" in tuned)
