"""A real sweep over more than T and alpha, with a user's loss: the searched values are trained and reported."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

KdSweeps = Callable[..., tuple[int, str, str]]

LOSS = '''
from keras import ops


def loss(labels, teacher_logits, student_logits, *, temperature, beta=1.0):
    """beta*T^2*(softmax(teacher/T) - softmax(student/T))^2"""
    teacher, student = (ops.softmax(logits / temperature) for logits in (teacher_logits, student_logits))
    return beta * temperature**2 * ops.sum((teacher - student) ** 2, axis=-1)
'''

SMALL = "--preset tiny --dataset digits --trials 2 --set baselines.methods=[] --set transfer.seeds=1"
ONE_POINT = "--set confirm.top=1 --set confirm.seeds=1"


@pytest.mark.processes
@pytest.mark.slow
def test_searched_values_are_trained_and_reported(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    (tmp_path / "my_losses.py").write_text(LOSS)
    space = "{beta=[1,8],learning_rate=[0.002,0.01],epochs=[2,4],batch_size=[32,64]}"
    searched_too = ("--set", "training.distillation=./my_losses.py:loss", "--set", f"search.space={space}")
    code, _, err = kd_sweeps("create", "s", *f"{SMALL} {ONE_POINT}".split(), *searched_too)
    assert code == 0, err
    code, _, err = kd_sweeps("launch", "s", "--workers", "1")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(kd_sweeps("trials", "s", "-f", "csv")[1])))
    assert {row["state"] for row in rows if row["stage"] != "measure"} == {"done"}
    searched = [row for row in rows if row["stage"] == "search"]
    names = ["batch_size", "epochs", "learning_rate", "beta"]
    assert all(all(row[name] for name in names) for row in searched)
    assert {int(row["batch_size"]) for row in searched} <= {32, 64}
    best = json.loads(kd_sweeps("best", "s", "-f", "json")[1])
    confirmed = best["point"]
    assert set(confirmed) == {"temperature", "alpha", *names}
    (replayed,) = [row for row in rows if row["arm"] == "best"]
    # the whole tuned point, not only T and alpha
    assert {name: float(replayed[name]) for name in confirmed} == pytest.approx(confirmed)
    plain = next(row for row in rows if row["arm"] == "scratch")
    assert (float(plain["learning_rate"]), int(plain["epochs"]), int(plain["batch_size"])) == (0.004, 4, 32)
    tuned = next(row for row in rows if row["arm"] == "scratch-tuned")
    assert float(tuned["learning_rate"]) == pytest.approx(confirmed["learning_rate"])
    assert float(tuned["alpha"]) == 1.0
    code, out, err = kd_sweeps("report", "s", "-f", "markdown")
    assert code == 0, err
    assert "No distillation, trained as best" in out
    assert "beta*T^2" in best["loss"] or "my_losses.py:loss" in best["loss"]
    code, out, err = kd_sweeps("replay", "s", "--task", "search#1")  # trained again, with identical bits
    assert code == 0, (out, err)
