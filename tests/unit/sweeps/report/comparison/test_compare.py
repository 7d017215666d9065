"""`kd-sweeps compare`: its output, its errors, and what it withholds before a look is complete.

Two finished sweeps side by side are a golden page.
"""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps.findings.compare import Compared, compare
from sweeps.report.brief import compared_brief
from sweeps.report.compare import conclusion, text
from tests.support.sweeps import builders
from tests.support.sweeps.compared_sweeps import BASE, COMPARED, add, arms, family, lower, make_member
from tests.support.sweeps.trials_in_memory import trials_in_memory

KdSweeps = Callable[..., tuple[int, str, str]]
HALF = "transfer#target.best.3"  # the first unfinished task


def compared(*names: str) -> Compared:
    """Compare members of the family, "half" (target not tested yet), "mono" and "alone" (no target); others empty."""
    further_members = {
        "half": make_member("half", lower(1.0), until=HALF),
        "mono": make_member("mono", target=None, source__dataset="digits-rgb"),
        "alone": make_member("alone", target=None),
        "halved": replace(make_member("half", until="transfer#source"), name="halved"),
    }
    members = family() | further_members
    return compare(names, [members[name] for name in names if name in members])


NONE = "No clear difference between base and {}."
BOTH = "digits and digits-rgb"
FAMILY = ("base", "same", "worse", "better", "other")


@pytest.mark.parametrize(
    ("names", "first", "second"),
    [
        (
            ("base", "worse"),
            NONE.format("worse"),
            "The clearest is on digits: base is 1.0 points better than worse (95 % CI −0.6 to 2.6, p = 0.28 after"
            " Holm).",
        ),
        (
            ("base", "better"),
            NONE.format("better"),
            "The clearest is on digits: better is 2.0 points better than base (95 % CI 0.4 to 3.6, p = 0.056 after"
            " Holm). A sweep is called better below p = 0.05.",
        ),
        (
            ("worse", "better"),
            f"better is better than worse on {BOTH}.",
            "On digits: better is 3.0 points better than worse (p < 0.0001 after Holm). On digits-rgb: better is 3.0"
            " points better than worse (p < 0.0001 after Holm).",
        ),
        (
            FAMILY,
            f"same is better than worse on {BOTH}. better is better than same and worse on {BOTH}.",
            "On digits: same is 1.0 points better than worse (p < 0.0001 after Holm). On digits: better is 2.0 points"
            " better than same (p < 0.0001 after Holm). On digits: better is 3.0 points better than worse (p < 0.0001"
            " after Holm). 3 more in the table.",
        ),
        (("base", "other"), "No direct comparison is possible.", "Not paired: other seeds."),
        (("mono", "alone"), "Nothing to compare: no dataset in common.", ""),
        (("fresh", "newer"), "Nothing to compare yet.", "No task of fresh or newer has finished."),
        (
            ("half", "halved"),
            "Nothing to compare yet.",
            "On no shared dataset is the planned evaluation of both sweeps complete.",
        ),
    ],
)
def test_the_first_line_says_what_is_shown_and_the_second_has_the_numbers(
    names: tuple[str, ...], first: str, second: str
) -> None:
    assert conclusion(compared(*names)) == (first, second)


def test_many_clear_differences_are_counted() -> None:
    tested = [pair for pair in compared(*FAMILY).pairs if pair.difference is not None]
    clear = tuple(replace(pair, dataset=f"d{number}", p_holm=0.01) for number, pair in enumerate(tested))
    headline, _ = conclusion(replace(compared(*FAMILY), pairs=clear))
    assert headline == f"{len(tested)} differences are beyond the noise."


def test_an_unfinished_sweep_is_included_with_its_results_so_far() -> None:
    out = text(compared("base", "half", "fresh"))
    assert re.search(r"\| half \| digits to digits-rgb \| T = [^|]+ \| \d+ of 38 \| [^|]+ \| not finished \|", out)
    assert "| fresh | not yet | not yet | 0 |  | nothing has finished yet |" in out
    assert re.search(r"\| half \| target \| not yet \| not yet \| not yet \| not yet \| \d+\.\d\d \|", out)
    assert "| base − half | digits-rgb | not yet |  |  |" in out
    assert "| base − half | digits | +1.00 [−0.59, +2.59] (n=4) |" in out


def test_a_sweep_is_done_when_every_task_has_ended_even_with_an_unavailable_baseline() -> None:
    lacking = builders.make_findings(COMPARED, arms(BASE), broken="baselines", name="lacking")
    assert lacking.answer_hash
    assert re.search(r"\| lacking \| .* \| done \|", text(compare(["lacking"], [lacking])))


def test_without_a_common_dataset_there_is_still_a_table() -> None:
    out = text(compared("mono", "alone"))
    assert "# Nothing to compare: no dataset in common." in out
    assert "Sweep against sweep" not in out
    assert "| alone | source | +5.00" in out


def test_a_source_and_a_target_of_the_same_data_are_compared() -> None:
    out = text(compared("worse", "mono"))
    assert "| worse − mono | digits-rgb | −1.00 [−2.59, +0.59] (n=4) | 0.14 | 0.14 |" in out
    assert "| `target` | digits-rgb | none |" in out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_fit_the_terminal(width: int) -> None:
    printed = compared_brief(compared("base", "worse", "better", "other", "half", "fresh"), columns=width)
    assert max(map(len, printed.splitlines())) <= min(width, 100)
    words = " ".join(printed.split())
    assert "fresh: nothing has finished yet" in words
    assert "base - worse: +1.00 [-0.59, +2.59] (n=4), p = " in words
    assert "half (target): test % not yet; over no distillation not yet" in words


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a storage with "base" and "half", and with "fresh" and "newer", which have no result."""
    url = f"sqlite:///{tmp_path_factory.mktemp('compare')}/s.db"
    changes: dict[str, Any] = {"transfer__seeds": 2, "baselines__methods": ()}
    changes |= {"transfer__source_arms": ["best", "scratch"], "transfer__target_arms": ["best", "scratch", "native"]}
    with trials_in_memory():
        add(url, "base", **changes)
        add(url, "half", lower(1.0), stop_at="transfer#target.best.1", **changes)
        for name in ("fresh", "newer"):
            add(url, name, stop_at="t")
    return url


def test_no_format_has_results_of_an_incomplete_look(url: str, kd_sweeps: KdSweeps) -> None:
    """Some trainings on the target are done, but no format reveals their accuracies."""
    code, out, err = kd_sweeps("compare", "base", "half", "-f", "csv", "--storage", url)
    assert code == 0
    assert err.startswith("storage sqlite:///")
    lines = [row for row in csv.DictReader(out.splitlines()) if (row["sweep"], row["stage"]) == ("half", "transfer")]
    target = [row for row in lines if row["role"] == "target"]
    assert target
    assert {row["test_accuracy"] for row in target} == {""}
    assert "" not in {row["test_accuracy"] for row in lines if row["role"] == "source"}
    plain = json.loads(kd_sweeps("compare", "base", "half", "-f", "json", "--storage", url)[1])
    (half,) = [row for row in plain["standings"] if (row["sweep"], row["role"]) == ("half", "target")]
    assert [half[name] for name in ("gain", "regret", "test")] == [None] * 3
    assert {half["absent"][name] for name in ("gain", "regret", "test")} == {"not yet"}
    assert [pair["difference"] for pair in plain["pairs"] if pair["dataset"] == "digits-rgb"] == [None]


def test_a_folder_gets_the_page_the_figure_and_the_csv(url: str, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("compare", "base", "half", "-o", "new/folder", "--storage", url)
    folder = Path("new/folder")
    assert (code, err.splitlines()[-1]) == (0, "comparison new/folder/compare.html")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"compare.html", "compare.md", "compare.csv", "figures/forest.svg", "figures/forest-narrow.svg"}
    assert "<svg" in (folder / "compare.html").read_text()
    page = kd_sweeps("compare", "base", "half", "--storage", url)[1]
    first, second = out.splitlines()
    assert f"\n# {first}\n\n{second}\n" in page
    printed = kd_sweeps("compare", "base", "half", "-f", "csv", "--storage", url)[1]
    assert (folder / "compare.csv").read_text() == printed


WRONG = {
    "one": (("base",), "compare: got 1 sweep; allowed: 2 to 20, for example: kd-sweeps compare base ANOTHER"),
    "twice": (("base", "worse", "base"), "compare: got base twice; name each sweep once, for example: "),
    "many": (tuple(f"s{i}" for i in range(21)), "compare: got 21 sweeps; allowed: 2 to 20"),
    "format": (("base", "worse", "-f", "xml"), "--format: got 'xml'; allowed: brief, markdown, json, csv"),
    "both": (("base", "worse", "-f", "csv", "-o", "x"), "--output writes every format; leave out --format csv"),
    "empty": (("base", "worse", "-o", " "), "--output: got ' '; give a folder, for example: -o comparison"),
    "name": (("base", "../x"), "sweep name '../x': allowed are"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_give_a_one_line_error(case: str, kd_sweeps: KdSweeps) -> None:
    words, line = WRONG[case]
    code, out, err = kd_sweeps("compare", *words, "--storage", "sqlite:///nothing.db")
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"kd-sweeps: {line}")
    assert not Path("x").exists()


def test_an_unknown_sweep_no_results_and_a_bad_folder_give_an_error(url: str, kd_sweeps: KdSweeps) -> None:
    code, out, err = kd_sweeps("compare", "base", "missing", "--storage", url)
    assert (code, out) == (1, "")
    assert err.startswith("kd-sweeps: no sweep 'missing' in sqlite:///")
    code, out, err = kd_sweeps("compare", "fresh", "newer", "--storage", url)
    assert (code, out) == (3, "")
    assert err.startswith("kd-sweeps: nothing of fresh has finished yet")
    code, out, err = kd_sweeps("compare", "base", "half", "-o", "/proc/x", "--storage", url)
    assert (code, out) == (2, "")
    assert "--output: cannot write a comparison into /proc/x: " in err
