"""bench/studies: the numbers that their pages compute from recorded trainings."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # bench/ is not a package

from studies import calibration, kinds, tutorial

from support import halves
from support.parts import Training, read_csv, without_folders, write_csv
from sweeps.stats.estimates import Estimate
from sweeps.usecases.create import freeze

TRAINING = Training(
    part="kd",
    stage="transfer",
    dataset="mnist",
    search=0,
    arm="native",
    repeat=0,
    seed=1,
    temperature=4.0,
    alpha=0.25,
    validation=0.9,
    test=0.95,
    train_s=1.5,
    cpu_s=1.25,
)


def test_a_csv_gives_back_what_was_written(tmp_path: Path) -> None:
    trainings = [TRAINING, replace(TRAINING, stage="search", arm="", test=None, validation=1 / 3)]
    write_csv(tmp_path / "kd.csv", trainings)
    assert read_csv(tmp_path / "kd.csv") == trainings


def test_only_the_names_of_files_are_kept_not_their_folders() -> None:
    values = {"teacher": "logits:/home/me/t.npz", "dataset": "/data/a.npz", "loss": "kd", "inner": {"seed": 3}}
    assert without_folders(values) == {
        "teacher": "logits:t.npz",
        "dataset": "a.npz",
        "loss": "kd",
        "inner": {"seed": 3},
    }


def test_a_contrast_of_logarithms_is_drawn_as_doublings() -> None:
    drawn = kinds.doublings(Estimate(np.log(4), np.log(2), None, 2))
    assert (drawn.mean, drawn.low, drawn.high) == (pytest.approx(2), pytest.approx(1), None)


def test_the_losses_of_a_sweep_are_drawn_by_strategy() -> None:
    arms = {"native": 53.0, "default-keras": 52.5, "best": 53.5, "scratch-own": 50.0}
    trained = [
        replace(TRAINING, dataset="cifar10", arm=arm, search=search, test=value / 100)
        for arm, value in arms.items()
        for search in range(3)
    ]
    default, elsewhere = calibration.figure({"seed-0": trained})
    assert [round(mark.value.mean, 6) for mark in default.marks + elsewhere.marks] == [0.5, 0.5, -0.5, -0.5]


def test_a_search_chooses_the_best_mean_among_the_points_of_its_last_round() -> None:
    confirmed = [(2.0, 0.9), (3.0, 0.8), (4.0, 0.95), (2.0, 0.7), (3.0, 0.85)]
    trained = [replace(TRAINING, stage="confirm", temperature=t, validation=score) for t, score in confirmed]
    assert kinds.chosen(trained, "mnist", 0) == 3.0


def test_a_ratio_of_temperatures_is_paired_by_networks() -> None:
    logs = {"a": {"x": 1.0, "y": 0.5, "z": 0.0}, "b": {"x": 3.0, "y": 2.5, "z": 2.0}, "c": {"x": 9.0}}
    paired = kinds.ratio(logs, ["x"], ["y", "z"])
    assert paired is not None
    assert (paired.mean, paired.n) == (0.75, 2)


def test_signs_are_counted_with_one_seed_and_with_two() -> None:
    first, second = {(0, 0): 2.0, (0, 1): 4.0}, {(0, 0): 1.0, (0, 1): 3.0}
    assert tutorial.wrong_signs(first, second) == (0.0, 50.0)


def test_the_tutorial_searches_a_single_point() -> None:
    changes = tutorial.at_point(1, {}, Path("/studies"))
    assert (changes["search"]["temperature"], changes["search"]["alpha"]) == ([2.0, 2.0], [0.75, 0.75])
    assert changes["seed"] == tutorial.at_tuned(1, {"search": [TRAINING]}, Path("/studies"))["seed"]


def test_the_specs_have_the_declared_fingerprints() -> None:
    declared = (calibration.STUDY.folder / "declared.md").read_text(encoding="utf-8")
    for part in calibration.STUDY.parts.values():
        spec = freeze(part.spec({}, Path()), data_dir=None)
        assert f"`{spec.fingerprint}`" in declared


def test_grey_is_the_luma_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    class Arrays:
        x_train = x_test = np.array([[[[255, 255, 255], [255, 0, 0]], [[0, 255, 0], [0, 0, 255]]]], np.uint8)
        y_train = y_test = np.array([[3]])

    class Source:
        arrays = Arrays

    monkeypatch.setattr(halves, "obtain", lambda name: Source)
    grey = halves.cifar10_grey()
    assert grey["x_train"].tolist() == [[[[255], [76]], [[149], [29]]]]
    assert grey["y_test"].tolist() == [3]
