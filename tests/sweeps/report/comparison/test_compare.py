"""`kd-sweeps compare`: what it prints and writes, what it refuses, what it does not tell before a look is complete."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.findings.compare import compare
from sweeps.report.brief import compared_brief
from sweeps.report.compare import headline
from sweeps.report.figures import forest
from tests.support.sweeps import compared_sweeps
from tests.support.sweeps.compared_sweeps import add, found, lower
from tests.support.sweeps.pictured_sweeps import texts
from tests.support.sweeps.trials_in_memory import trials_in_memory

KdSweeps = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The family; "half", whose target is not tested yet; "fresh" without a result; "mono" without a target."""
    with trials_in_memory():
        url = compared_sweeps.family(tmp_path_factory.mktemp("compare"))
        add(url, "half", lower(1.0), stop_at="transfer#target.best.3")
        add(url, "fresh", stop_at="t")
        add(url, "mono", target=None, source__dataset="digits-rgb")
    return url


def told(url: str, *names: str) -> str:
    return headline(compare(names, found(url, names)))


def test_markdown_has_the_planted_differences_and_what_differs(url: str, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("compare", "base", "worse", "better", "other", "--storage", url)
    assert code == 0
    assert err.startswith("storage sqlite:///")
    assert "| base - worse | digits | +1.00 [-0.59, +2.59] (n=4) | 0.14 |" in out
    assert "| base - better | digits-rgb | -2.00 [-3.59, -0.41] (n=4) | 0.028 |" in out
    assert "| base - other | digits | not paired: other seeds |  |  |" in out
    assert "| `training.learning_rate` | 0.004 | 0.004 | 0.004 | 0.002 |" in out
    assert "| base | target | +5.00 (n=4, all alike) | +4.00 (n=4, all alike) | +10.00" in out


def test_the_headline_names_who_is_better(url: str) -> None:
    assert told(url, "base", "worse") == (
        "No two of these sweeps are told apart: every difference may be luck of the seeds."
    )
    assert told(url, "base", "better").startswith("No two"), "p = 0.028 for one of two tests"
    assert told(url, "worse", "better") == (
        "On digits better is 3.0 points better than worse. On digits-rgb better is 3.0 points better than worse."
    )
    assert told(url, "base", "other") == "Nothing can be compared directly: not paired: other seeds."


def test_an_unfinished_sweep_is_there_with_what_it_has(url: str, kd_sweeps: KdSweeps) -> None:
    code, out, _ = kd_sweeps("compare", "base", "half", "fresh", "--storage", url)
    assert code == 0
    assert re.search(r"\| half \| digits -> digits-rgb \| T = [^|]+ \| \d+ of 38 \| [^|]+ \| not finished \|", out)
    assert "| fresh | not yet | not yet | 0 |  | nothing has finished yet |" in out
    assert re.search(r"\| half \| target \| not yet \| not yet \| not yet \| not yet \| \d+\.\d\d \|", out)
    assert "| base - half | digits-rgb | not yet |  |  |" in out
    assert "| base - half | digits | +1.00 [-0.59, +2.59] (n=4) |" in out


def test_a_half_look_is_in_no_format(url: str, kd_sweeps: KdSweeps) -> None:
    """Three trainings of best on the target are done: none of their accuracies may be read anywhere."""
    code, out, _ = kd_sweeps("compare", "base", "half", "-f", "csv", "--storage", url)
    assert code == 0
    lines = [row for row in csv.DictReader(out.splitlines()) if (row["sweep"], row["stage"]) == ("half", "transfer")]
    target = [row for row in lines if row["role"] == "target"]
    assert len(target) >= 3
    assert {row["test_accuracy"] for row in target} == {""}
    assert "" not in {row["test_accuracy"] for row in lines if row["role"] == "source"}
    plain = json.loads(kd_sweeps("compare", "base", "half", "-f", "json", "--storage", url)[1])
    (half,) = [one for one in plain["standings"] if (one["sweep"], one["role"]) == ("half", "target")]
    assert [half[name] for name in ("gain", "tuning", "regret", "test")] == [None] * 4
    assert set(half["absent"].values()) == {"not yet"}
    assert [one["difference"] for one in plain["pairs"] if one["dataset"] == "digits-rgb"] == [None]


def test_without_a_common_dataset_there_is_a_table_all_the_same(url: str, tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    with trials_in_memory():
        add(url, "alone", target=None)
    code, out, _ = kd_sweeps("compare", "mono", "alone", "--storage", url)
    assert code == 0
    assert "# These sweeps have no dataset in common: nothing can be compared directly." in out
    assert "Sweep against sweep" not in out
    assert "| alone | source | +5.00" in out


def test_a_source_and_a_target_of_the_same_data_are_compared(url: str, kd_sweeps: KdSweeps) -> None:
    code, out, _ = kd_sweeps("compare", "worse", "mono", "--storage", url)
    assert code == 0
    assert "| worse - mono | digits-rgb | -1.00 [-2.59, +0.59] (n=4) | 0.14 | 0.14 |" in out
    assert "| `target` | digits-rgb | none |" in out


def test_csv_has_a_line_for_each_finished_training(url: str, kd_sweeps: KdSweeps) -> None:
    code, out, _ = kd_sweeps("compare", "base", "worse", "-f", "csv", "--storage", url)
    assert code == 0
    rows = list(csv.DictReader(out.splitlines()))
    assert list(rows[0]) == [
        *("sweep", "task", "dataset", "role", "stage", "arm", "repeat", "seed", "temperature", "alpha"),
        *("val_accuracy", "test_accuracy", "train_s", "cpu_s"),
    ]
    assert [sum(row["sweep"] == name for row in rows) for name in ("base", "worse")] == [37, 37], "38, one measures"
    (one,) = [row for row in rows if (row["sweep"], row["task"]) == ("worse", "transfer#target.best.2")]
    assert (one["role"], one["dataset"], one["arm"], one["repeat"]) == ("target", "digits-rgb", "best", "2")
    assert float(one["test_accuracy"]) == pytest.approx(lower(1.0)[2] / 100)
    other = next(row for row in rows if (row["sweep"], row["task"]) == ("base", "transfer#target.best.2"))
    assert other["seed"] == one["seed"]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_on_a_terminal_the_lines_fit(url: str, width: int) -> None:
    names = ("base", "worse", "better", "other", "half", "fresh")
    text = compared_brief(compare(names, found(url, names[:-1])), columns=width)
    assert max(map(len, text.splitlines())) <= min(width, 100)
    said = " ".join(text.split())
    assert "fresh: nothing has finished yet" in said
    assert "base - worse: +1.00 [-0.59, +2.59] (n=4), p = " in said
    assert "half (target): test % not yet; over no distillation not yet" in said


def test_a_folder_has_the_page_the_figure_and_the_csv(url: str, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("compare", "worse", "better", "-o", "new/folder", "--storage", url)
    folder = Path("new/folder")
    assert (code, out) == (0, told(url, "worse", "better") + "\n")
    assert err.splitlines()[-1] == "comparison new/folder/compare.html"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"compare.html", "compare.md", "compare.csv", "figures/forest.svg"}
    assert "<svg" in (folder / "compare.html").read_text()
    assert (folder / "compare.csv").read_text() == kd_sweeps(
        "compare", "worse", "better", "-f", "csv", "--storage", url
    )[1]
    before = {name: (folder / name).read_bytes() for name in files}
    kd_sweeps("compare", "worse", "better", "-o", "new/folder", "--storage", url)
    assert {name: (folder / name).read_bytes() for name in files} == before


def test_the_forest_plot_says_every_number_in_text(url: str) -> None:
    names = ("base", "worse", "better")
    shown = compare(names, found(url, names))
    panels = [panel.title for panel in forest.panels(shown)]
    assert len(panels) == 7, "three questions and the pairs; on the source there is no regret"
    drawn = forest.draw(shown)
    assert drawn is not None
    words = texts(drawn)
    for panel in panels:
        assert panel in words
    assert {"minus better", "+1.0", "−0.6 to +2.6"} <= set(words)


WRONG = {
    "one": (("base",), "compare: got 1 sweep; allowed: 2 to 20, for example: kd-sweeps compare base ANOTHER"),
    "twice": (("base", "worse", "base"), "compare: got base twice; name each sweep once, for example: "),
    "many": (tuple(f"s{i}" for i in range(21)), "compare: got 21 sweeps; allowed: 2 to 20"),
    "format": (("base", "worse", "-f", "xml"), "--format: got 'xml'; allowed: brief, markdown, json, csv"),
    "both": (("base", "worse", "-f", "csv", "-o", "x"), "--output writes the page, its Markdown and the CSV;"),
    "empty": (("base", "worse", "-o", " "), "--output: got ' '; give a folder, for example: -o comparison"),
    "name": (("base", "../x"), "sweep name '../x': allowed are"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_one_line(url: str, case: str, kd_sweeps: KdSweeps) -> None:
    words, line = WRONG[case]
    code, out, err = kd_sweeps("compare", *words, "--storage", url)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"kd-sweeps: {line}")
    assert not Path("x").exists()


def test_an_unknown_sweep_and_sweeps_without_results_are_one_line(url: str, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("compare", "base", "nobody", "--storage", url)
    assert (code, out) == (1, "")
    assert err.startswith("kd-sweeps: no sweep 'nobody' in sqlite:///")
    with trials_in_memory():
        add(url, "newer", stop_at="t")
    code, out, err = kd_sweeps("compare", "fresh", "newer", "--storage", url)
    assert (code, out) == (3, "")
    assert err.startswith("kd-sweeps: nothing of fresh has finished yet")
    code, out, err = kd_sweeps("compare", "base", "worse", "-o", "/proc/x", "--storage", url)
    assert (code, out) == (2, "")
    assert "--output: cannot write a comparison into /proc/x: " in err
