"""AutoKeras runs in a child process, as in the product: it seeds globally and clears Keras' session."""

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Vertical bars: the class is where the bar is, which a tiny network learns in one epoch.
SCRIPT = """
import json, os, signal, sys
from pathlib import Path

import numpy as np

import kd.baselines.autokeras as module
from kd.baselines.methods import Budget, fit
from kd.data.datasets import Dataset, Split

folder = Path(sys.argv[1])
answers = {}


def bars(*, classes, channels=3, images=240, side=24):
    random = np.random.default_rng(0)
    labels = np.arange(images) % classes
    pixels = random.integers(0, 60, (images, side, side, channels))
    for image, label in zip(pixels, labels):
        image[:, label * side // classes : (label + 1) * side // classes] += 150
    split = Split(pixels.astype(np.uint8), labels)
    return Dataset(name="bars", train=split, validation=Split(split.images[-96:], split.labels[-96:]),
                   classes=classes, content_hash="", split_hash="", origin="test")


def run(name, dataset, *, trials=1, epochs=1, seconds=600, on_progress=None, blocks=("vanilla",), **limits):
    seen = []

    def progress(fraction, text):
        seen.append((fraction, text))
        if on_progress is not None:
            on_progress(fraction, text)

    try:
        budget = Budget(trials=trials, epochs=epochs, seconds=seconds, blocks=blocks, **limits)
        result = fit("autokeras", dataset, budget=budget, seed=3, work_dir=folder / "work", on_progress=progress)
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    else:
        answer = {key: value for key, value in vars(result).items() if key != "model"}
        (folder / f"{name}.keras").write_bytes(result.model)
        np.savez(folder / f"{name}.npz", images=dataset.validation.images, labels=dataset.validation.labels)
    answers[name] = answer | {"seen": seen, "left": [path.name for path in (folder / "work").iterdir()]}


class Clock:
    '''Time that passes when the test says so: a deadline is then met on the same batch every time.'''

    now = 0.0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.now


def after(moment):
    '''An on_progress that lets the time run out once this fraction is passed.'''
    def pass_time(fraction, text):
        if fraction > moment:
            module.time.now += 1000
    return pass_time


def fail_after(moment):
    def fail(fraction, text):
        if fraction > moment:
            raise RuntimeError("the lease is lost")
    return fail


def kill_after(moment):
    def kill(fraction, text):
        if fraction > moment:
            os.kill(os.getpid(), signal.SIGKILL)
    return kill


"""

FAST = """
module.time = Clock()
run("capped", bars(classes=12, channels=1), trials=2, epochs=2, on_progress=after(0.5))
module.time = Clock()
run("late", bars(classes=3), seconds=1, on_progress=after(-1.0))
run("cancelled", bars(classes=3), on_progress=fail_after(-1.0))
"""

SLOW = """
run("whole", bars(classes=3), trials=2, epochs=2)
run("two classes", bars(classes=2), trials=1, epochs=2)
module.time = Clock()
run("capped in trial 1", bars(classes=3), trials=2, epochs=4, on_progress=after(0.3))
run("oversize", bars(classes=3), trials=2, max_parameters=10)
"""

LONG = """
from kd.data.datasets import load
digits = load("digits", train_images=600)
run("search", digits, trials=5, epochs=3, blocks=("xception", "resnet", "vanilla"))
for kind in ("xception", "resnet"):
    run(kind, load("digits", train_images=1000), epochs=3, blocks=(kind,))
"""


def run_child(folder: Path, scenarios: str) -> dict[str, Any]:
    threads = {f"TF_NUM_{kind}OP_THREADS": "1" for kind in ("INTRA", "INTER")} | {"OMP_NUM_THREADS": "1"}
    script = SCRIPT + scenarios + '\n(folder / "answers.json").write_text(json.dumps(answers))\n'
    result = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        env=os.environ | threads | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode < 0:
        result.check_returncode()
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout == ""  # stdout is for results, not for libraries
    answers: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return answers


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("fast")
    return folder, run_child(folder, FAST)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("slow")
    return folder, run_child(folder, SLOW)


def accuracy_of_file(folder: Path, name: str) -> float:
    """Return the accuracy of the saved model, which uses only classes of Keras."""
    import keras

    with zipfile.ZipFile(folder / f"{name}.keras") as file:
        modules = set(re.findall(r'"module": "([^"]+)"', file.read("config.json").decode()))
    assert {module.partition(".")[0] for module in modules} == {"keras"}
    model = keras.models.load_model(folder / f"{name}.keras")
    with np.load(folder / f"{name}.npz") as arrays:
        images, labels = arrays["images"], arrays["labels"]
    outputs = model.predict(images, verbose=0)
    np.testing.assert_array_equal(outputs, model.predict(images.astype(np.float32), verbose=0))
    return float(np.mean(outputs.argmax(axis=-1) == labels))


def test_at_the_cap_the_best_finished_trial_is_kept_and_its_plain_keras_file_has_the_reported_score(
    fast: tuple[Path, dict[str, Any]],
) -> None:
    folder, answers = fast
    capped = answers["capped"]
    assert capped["capped"] is True
    assert capped["curve"] == [[0.0, pytest.approx(capped["val_accuracy"])]]  # the clock stood still until the cap
    assert capped["detail"] == "vanilla blocks, 1 trial of 2, 2 epochs at most"
    assert capped["val_accuracy"] > 0.5  # of more than ten gray classes, chance: 0.08
    assert accuracy_of_file(folder, "capped") == capped["val_accuracy"]


def test_a_search_without_a_finished_epoch_fails_and_an_exception_of_on_progress_leaves_no_file(
    fast: tuple[Path, dict[str, Any]],
) -> None:
    late, cancelled = (fast[1][name] for name in ("late", "cancelled"))
    assert late["error"] == "Unavailable"
    assert "finished no epoch within 1 s" in late["message"]
    assert "more seconds" in late["message"]
    assert (cancelled["error"], cancelled["message"]) == ("RuntimeError", "the lease is lost")
    assert [answer["left"] for answer in fast[1].values()] == [[], [], []]


def test_its_logits_are_the_inputs_of_its_softmax(fast: tuple[Path, dict[str, Any]]) -> None:
    import keras

    from kd.models.files import load, with_logits

    data = (fast[0] / "capped.keras").read_bytes()
    with np.load(fast[0] / "capped.npz") as arrays:
        images = arrays["images"]
    logits = with_logits(data)(images)
    np.testing.assert_allclose(keras.activations.softmax(logits), load(data)(images), rtol=1e-4, atol=1e-6)


def test_its_architecture_trains_as_a_student(fast: tuple[Path, dict[str, Any]]) -> None:
    from kd.models.files import build_from_file

    kernels = []
    for seed in (1, 1, 2):
        model = build_from_file(fast[0] / "capped.keras", (24, 24, 1), 12, seed=seed)
        kernels.append(next(weight for weight in model.trainable_weights if "kernel" in weight.path).numpy())
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


@pytest.mark.slow
def test_a_whole_search_scores_what_its_file_scores_and_progress_runs_to_1(slow: tuple[Path, dict[str, Any]]) -> None:
    folder, answers = slow
    whole = answers["whole"]
    assert whole["capped"] is False
    assert whole["detail"] == "vanilla blocks, 2 trials, 2 epochs at most"
    assert accuracy_of_file(folder, "whole") == whole["val_accuracy"]
    fractions = [fraction for fraction, _ in whole["seen"]]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert whole["seen"][-1][1].startswith("trial 2 of 2, epoch 2 of 2: validation accuracy")
    assert answers["two classes"]["val_accuracy"] > 0.9  # with an output each
    assert accuracy_of_file(folder, "two classes") == answers["two classes"]["val_accuracy"]


@pytest.mark.slow
def test_at_the_cap_in_the_first_trial_its_best_epoch_is_kept(slow: tuple[Path, dict[str, Any]]) -> None:
    folder, answers = slow
    first = answers["capped in trial 1"]
    assert first["capped"] is True
    assert first["curve"] == [[0.0, pytest.approx(first["val_accuracy"])]]
    assert first["detail"] == "vanilla blocks, 1 unfinished trial, 4 epochs at most"
    assert accuracy_of_file(folder, "capped in trial 1") == first["val_accuracy"]


@pytest.mark.slow
def test_models_above_the_size_limit_are_the_reason_given(slow: tuple[Path, dict[str, Any]]) -> None:
    oversize = slow[1]["oversize"]
    assert oversize["error"] == "Unavailable"
    assert "Oversized model" in oversize["message"]


@pytest.mark.slow
def test_a_search_over_all_blocks_gives_a_curve_that_never_falls_and_each_kind_learns_as_plain_keras(
    tmp_path: Path,
) -> None:
    answers = run_child(tmp_path, LONG)
    search = answers.pop("search")
    spent, best = zip(*search["curve"], strict=True)
    assert len(spent) == 5  # a point per trial
    assert list(spent) == sorted(set(spent))
    assert 0 < spent[0] < spent[-1] < search["cpu_s"]
    assert list(best) == sorted(best)
    assert best[-1] == pytest.approx(search["val_accuracy"])
    assert search["detail"].split(" ", 1)[1] == "blocks (of xception, resnet, vanilla), 5 trials, 3 epochs at most"
    assert accuracy_of_file(tmp_path, "search") == search["val_accuracy"]
    for kind, answer in answers.items():
        assert answer["detail"] == f"{kind} blocks, 1 trial, 3 epochs at most"
        assert accuracy_of_file(tmp_path, kind) == answer["val_accuracy"]
        assert answer["val_accuracy"] > 0.5  # chance: 0.1


@pytest.mark.slow
def test_a_search_killed_in_the_middle_does_not_disturb_the_next_in_its_folder(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as killed:
        run_child(tmp_path, 'run("killed", bars(classes=3), trials=2, epochs=2, on_progress=kill_after(0.5))')
    assert killed.value.returncode == -signal.SIGKILL
    assert list((tmp_path / "work" / "autokeras").iterdir())  # killed midway, with trials and checkpoints
    (tmp_path / "again").mkdir()
    second = run_child(tmp_path, 'run("again", bars(classes=3), trials=1, epochs=2)')["again"]
    fresh = run_child(tmp_path / "again", 'run("fresh", bars(classes=3), trials=1, epochs=2)')["fresh"]
    assert second["left"] == []
    assert len(second["curve"]) == 1  # nothing was reused from the killed search
    assert second["val_accuracy"] == fresh["val_accuracy"]
