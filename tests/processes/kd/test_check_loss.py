"""`check-loss` as a command: its lines, its exit codes, and a loss that prints, hangs, exits or dies."""

import json
from pathlib import Path

import pytest

from tests.support.sweeps.typed_commands import KdSweeps

LOSSES = """\
import os
import sys
import time
import numpy as np


def log_softmax(logits):
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def kd(outputs, labels, teacher_outputs, T, alpha):
    teacher, student = log_softmax(teacher_outputs / T), log_softmax(outputs / T)
    soft = (np.exp(teacher) * (teacher - student)).sum(axis=-1).mean()
    return alpha * soft - (1 - alpha) * log_softmax(outputs)[np.arange(len(labels)), labels].mean()


def prints(student, teacher):
    print("a line\\n{")
    os.write(1, b"\\xff\\x00")
    return ((student - teacher) ** 2).mean()


def forks(student, teacher):
    os.fork()
    return ((student - teacher) ** 2).mean()


def odd(student, teacher):
    return np.abs(student - teacher).max()


def hangs(student, teacher):
    time.sleep(600)


def exits(student, teacher):
    sys.exit(5)


def dies(student, teacher):
    os._exit(9)
"""


@pytest.fixture
def check_loss(kd_sweeps: KdSweeps, tmp_path: Path) -> KdSweeps:
    (tmp_path / "mine.py").write_text(LOSSES, encoding="utf-8")
    return lambda name, *words: kd_sweeps("check-loss", f"./mine.py:{name}", *words)


def test_the_first_line_is_the_verdict_and_no_line_is_long(check_loss: KdSweeps) -> None:
    code, out, err = check_loss("kd", "--temperature", "2", "--alpha", "0.9")
    assert (code, err) == (3, "")
    assert out.splitlines() == [
        "FAULTY: the factor T^2 is missing: the teacher's gradient shrinks by T^2 as T",
        "          grows",
        "it is     (1-alpha)*CE(labels) + alpha*KL(teacher_T || student_T)",
        "alpha     weighs the teacher; here it weighs the labels",
        "here      T 2, alpha 0.3077 for its T 2, alpha 0.9",
        "          times 0.325: Adam does not see it; SGD needs 0.325 times the learning",
        "          rate here",
        out.splitlines()[-1],
    ]
    assert out.splitlines()[-1].startswith("checked   800 values, numpy; largest difference ")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["prints", "forks"])
def test_json_stays_valid_whatever_the_loss_prints(check_loss: KdSweeps, name: str) -> None:
    code, out, _ = check_loss(name, "-f", "json")
    values = json.loads(out)
    assert (code, values["verdict"], values["loss"], values["same"]["alpha"]) == (0, "right", "mse", 0.0)


def test_an_unknown_loss_is_refused_with_the_closest_name(check_loss: KdSweeps) -> None:
    code, out, _ = check_loss("odd")
    assert code == 3
    assert out.startswith(("UNKNOWN: none of the known forms\n", "FAULTY: an image's loss depends on the other images"))
    assert "no T and alpha give the same loss" in out


@pytest.mark.parametrize(
    ("name", "words", "code", "message"),
    [
        ("hangs", ["--timeout", "3"], 1, "stopped after 3 s without a result; longer: --timeout SECONDS"),
        ("exits", [], 1, "sys.exit(5) was called in the child process"),
        ("dies", [], 1, "the child process died with exit code 9"),
        ("nothing", [], 1, "has no attribute 'nothing'"),
        ("kd", ["--framework", "theano"], 2, "--framework: got theano; allowed: torch, jax, keras, tensorflow, numpy"),
        ("kd", ["--alpha", "2"], 2, "--alpha: got 2.0; allowed: 0 to 1"),
        ("kd", ["--temperature", "0"], 2, "--temperature: got 0.0; allowed: more than 0"),
        ("kd", ["--classes", "1"], 2, "--classes: got 1; allowed: 2 to 10,000"),
        ("kd", ["--temperature", "hot"], 2, "unable to parse string as a number: got 'hot'; see: kd-sweeps check-loss"),
        ("kd", ["--temperature", "inf"], 2, "--temperature: got inf; allowed: more than 0"),
        ("kd", ["--arg", "student"], 2, "--arg: got student; allowed: ROLE=NAME or NAME=VALUE"),
        ("kd", ["--arg", "teacher=logits"], 1, "has no argument 'logits'"),
    ],
)
def test_bad_input_is_one_line(check_loss: KdSweeps, name: str, words: list[str], code: int, message: str) -> None:
    result, out, err = check_loss(name, *words)
    assert (result, out) == (code, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_a_missing_file_is_reported_in_one_line(kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("check-loss", "./other.py:loss")
    assert (code, out) == (1, "")
    assert err.startswith("kd-sweeps: cannot import loss './other.py:loss' here: cannot read ")
