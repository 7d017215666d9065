"""The transfer study: what is declared is what is run, and the shares and the matrix are those that were planted."""

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

import transfer_study as study

from support import halves
from support.transfer_matrix import ARMS, Line, by_sweep, kept, matrix, pairs, regrets, temperatures
from support.transfer_simulation import simulated


def lines(gains: dict[str, float], sweeps: int = 4) -> list[Line]:
    """Trainings on fresh seeds in which each arm gains so many points over scratch, give or take a tenth."""
    found = []
    for number in range(sweeps):
        for target in ("b", "c"):
            for repeat in range(3):
                base = 60 + repeat
                for arm, gain in (gains | {"scratch": 0.0}).items():
                    off = 0.0 if arm == "scratch" else 0.1 * (number - 1.5)
                    accuracy = (base + gain + off) / 100
                    found.append(Line(f"s{number}", "a", target, "st", "te", arm, repeat, 2.0, 0.5, accuracy))
    return found


GAINS = {"native": 2.0, "best": 1.0, "best-scaled": 1.5, "default-keras": 0.5}


def test_the_share_of_native_s_gain_is_what_was_planted() -> None:
    found = pairs(lines(GAINS))
    assert len(found) == 8
    share = kept(found, "best")
    assert share is not None
    assert share.mean == pytest.approx(0.5)
    assert share.low is not None
    assert share.high is not None
    assert share.low < 0.5 < share.high
    assert share.n == 4  # sweeps, not pairs: those of a sweep share a search


def test_a_difference_of_two_arms_is_one_value_a_sweep() -> None:
    found = pairs(lines(GAINS))
    assert by_sweep(found, "native", "best") == pytest.approx(dict.fromkeys(("s0", "s1", "s2", "s3"), 1.0))
    assert by_sweep(found, "native")["s3"] == pytest.approx(2.15)


def test_a_ratio_of_temperatures_is_paired_by_sweep_and_of_the_searches_alone() -> None:
    def tuned(sweep: str, dataset: str, arm: str, temperature: float) -> Line:
        return Line(sweep, "a", dataset, "st", "te", arm, 0, temperature, 0.5, 0.6)

    trained = [tuned("s0", "a", "best", 1.0), tuned("s1", "a", "best", 9.0), tuned("s2", "a", "best", 4.0)]
    for sweep, own, ratio in (("s0", 1.0, 2.0), ("s1", 9.0, 2.0), ("s2", 4.0, 16.0)):
        trained += [tuned(sweep, "b", "native", own * ratio), tuned(sweep, "b", "best", own)]
    trained += [tuned("s0", "c", "native", 8.0)]  # one search on c
    found = temperatures(trained, ["b"], ["a"])
    assert found is not None
    assert (found.mean, found.n) == (pytest.approx(4.0), 3)
    assert found.low is not None
    assert found.high is not None
    assert found.low * found.high == pytest.approx(16.0), "an interval of logarithms"
    own = temperatures(trained, ["a"])
    assert own is not None
    assert own.mean == pytest.approx(36 ** (1 / 3))
    assert temperatures(trained, ["b", "c"], ["a"]) is None, "one sweep gives no interval"


def test_the_committed_page_has_what_the_committed_trainings_give() -> None:
    trained = study.read()
    page = (REPOSITORY / "bench/results/transfer-study.md").read_text()
    for row in [*study._afterwards(pairs(trained), trained), *study._used(pairs(trained), trained)]:
        assert f"| {' | '.join(row)} |" in page


def test_without_a_gain_there_is_no_interval_of_a_share() -> None:
    share = kept(pairs(lines(dict.fromkeys(GAINS, 0.0))), "best")
    assert share is None or share.low is None


def test_the_simulated_intervals_hold_what_was_planted_in_nineteen_of_twenty() -> None:
    lines = simulated(16, runs=200).splitlines()[2:]
    assert len(lines) == 12
    for line in lines:
        gain, _, shown, held = (cell.strip(" %") for cell in line.strip("|").split("|"))
        if float(gain) > 0:
            assert float(shown) > 95
            assert 90 <= float(held) <= 99.5
        else:
            assert float(shown) < 12


def test_the_matrix_has_each_ordered_pair_once() -> None:
    lost = regrets(pairs(lines(GAINS)))
    assert list(lost) == [("a", "b"), ("a", "c")]
    assert lost["a", "b"].mean == pytest.approx(1.0)
    drawn = matrix(lost, ["a", "b", "c"])
    assert drawn.count("+1.00") == 2
    assert drawn.count("not yet") == 4
    assert matrix(lost, ["a", "b", "c"]) == drawn


def test_a_pair_that_lacks_an_arm_is_left_out() -> None:
    whole = lines(GAINS)
    assert len(pairs([line for line in whole if (line.sweep, line.arm) != ("s0", "native")])) == 6


def test_the_sixteen_specs_have_every_ordered_pair_and_share_no_seed() -> None:
    specs = study.specs()
    assert len(specs) == len({spec.seed for spec in specs.values()}) == 16
    places = Counter((spec.source.shown, spec.role(target).shown) for spec in specs.values() for target in spec.targets)
    assert len(places) == 12
    assert set(places.values()) == {4}
    assert all(set(ARMS) | {"native", "scratch"} == set(spec.arms("target")) for spec in specs.values())


def test_a_sweep_that_was_not_declared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "declared.md").write_text("nothing\n")
    monkeypatch.setattr(study, "HERE", tmp_path)
    monkeypatch.setattr(study, "with_data", lambda spec: spec)
    with pytest.raises(SystemExit, match="was not declared"):
        study.run("sqlite:///none.db", None, [])


def test_the_page_says_where_each_finished_sweep_was_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "HERE", tmp_path)
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    for name in ("mnist-keras-student-cnn-small", "fashion_mnist-keras-student-cnn-small"):
        shutil.copy(REPOSITORY / "bench/results/transfer-study" / f"{name}.csv", tmp_path)
    origin = {"answer_hash": "0123456789ab", "processor": "a processor", "core_seconds": 1300}
    (tmp_path / "mnist-keras-student-cnn-small.json").write_text(json.dumps(origin))
    study.report()
    page = (tmp_path / "transfer-study.md").read_text()
    assert "| `mnist-keras-student-cnn-small` | 0123456789ab | a processor | 1300 |" in page
    assert "| `fashion_mnist-keras-student-cnn-small` | not kept | not kept | not kept |" in page
    assert page.startswith(
        "# Does a tuned (T, alpha) keep its gain on another dataset?\n\n2 of 16 sweeps are finished."
    )


def test_a_sweep_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        study.main(["--only", "mnist"])
    assert "--only: got 'mnist'; allowed: mnist-keras-student-cnn-small, " in capsys.readouterr().err


@pytest.mark.training
def test_the_halves_of_cifar10_share_no_class() -> None:
    animals, vehicles = halves.animals(), halves.vehicles()
    assert len(animals["x_train"]) + len(vehicles["x_train"]) == 50_000
    assert len(animals["x_test"]) + len(vehicles["x_test"]) == 10_000
    assert Counter(animals["y_test"].tolist()) == dict.fromkeys(range(6), 1_000)
    assert Counter(vehicles["y_test"].tolist()) == dict.fromkeys(range(4), 1_000)
