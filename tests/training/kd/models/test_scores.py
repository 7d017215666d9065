"""kd.models.measure.score: the accuracies of models and of their int8 forms, in a child process that may die."""

import multiprocessing
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import kd.models.measure
from kd.data.datasets import Split
from kd.errors import SubprocessFailed
from kd.models.files import to_bytes
from kd.models.measure import ModelFile, score
from kd.models.named import build
from kd.tools.processes import run_in_subprocess
from tests.support.processes import command_of, descendants, is_alive, wait_until_gone
from tests.support.sweeps.small_sweeps import wait_until

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 8, 8, 1), dtype=np.uint8)


@pytest.fixture
def file():
    """Return a student, and the images labelled by itself, so that its accuracy is 1."""
    model = build("keras-student", (8, 8, 1), 3, seed=1)
    test = Split(IMAGES, model.predict_on_batch(IMAGES).argmax(axis=-1))
    return ModelFile(model=to_bytes(model), calibration=IMAGES[:50], test=test)


def children(parent=None):
    """Return the running children of a process, by default of this one."""
    pids = descendants(parent or os.getpid())
    return [pid for pid in pids if is_alive(pid) and b"multiprocessing.spawn" in command_of(pid)]


@pytest.mark.slow
def test_an_int8_model_that_kills_the_child_loses_only_its_own_score(file, monkeypatch):
    starts = []

    def start(*arguments, on_report, **more):
        starts.append(arguments)

        def killing(result=None):
            on_report(result)
            if isinstance(result, float) and len(starts) == 1:
                for child in multiprocessing.active_children():
                    child.kill()

        return run_in_subprocess(*arguments, on_report=killing, **more)

    monkeypatch.setattr(kd.models.measure, "run_in_subprocess", start)
    scores = score({"killed": file, "next": file})
    assert (scores["killed"].test_accuracy, scores["killed"].int8_bytes) == (1.0, None)
    assert scores["killed"].int8_reason == "the child process was killed; the system does that when memory runs out"
    assert scores["next"].test_accuracy == 1.0
    assert scores["next"].int8_test_accuracy > 0.95
    assert len(starts) == 2


def test_an_int8_model_that_takes_too_long_is_ended(file, monkeypatch):
    def impatient(result=None):
        if isinstance(result, float):
            monkeypatch.setattr(kd.models.measure, "LIMIT_S", 0.0)

    def start(*arguments, on_report, **more):
        def both(*values):
            on_report(*values)
            impatient(*values)

        return run_in_subprocess(*arguments, on_report=both, **more)

    monkeypatch.setattr(kd.models.measure, "run_in_subprocess", start)
    (scores,) = score({"slow": file}).values()
    assert (scores.test_accuracy, scores.int8_bytes, scores.int8_reason) == (1.0, None, "no result within 0 s")
    assert not children()


def test_a_model_that_gives_no_accuracy_is_an_error(file, monkeypatch):
    monkeypatch.setattr(kd.models.measure, "LIMIT_S", 0.1)  # TensorFlow alone takes longer to start
    with pytest.raises(SubprocessFailed, match=r"no result within 0\.1 s"):
        score({"slow": file})
    assert not children()


def test_a_check_that_raises_ends_the_child(file):
    def stop():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        score({"stopped": file}, check=stop)
    assert not children()


@pytest.mark.slow
def test_a_child_does_not_outlive_a_parent_killed_with_kill_9():
    program = """
import numpy as np
from kd.data.datasets import Split
from kd.models.measure import ModelFile, score
images = np.zeros((1, 8, 8, 1), np.uint8)
score({"a": ModelFile(model=b"", calibration=images, test=Split(images, np.zeros(1, int)))})
"""
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        pids = wait_until(lambda: children(parent.pid), "it starts no child")
        parent.kill()
    wait_until_gone(*pids)


def test_no_models_need_no_process():
    start = time.process_time()
    assert score({}) == {}
    assert time.process_time() - start < 0.1
