"""The numbers behind the answer: where the searches looked, and a table of every method on every dataset."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kd.errors import Unavailable
from storage.queue.tasks import Claim
from storage.url import resolve
from sweeps.distill.session import Outcome
from sweeps.findings.findings import Findings
from sweeps.report import markdown, methods
from sweeps.report.brief import brief
from sweeps.report.document import Block, Bullets, Figure, Fold, Heading, Paragraph, Table
from sweeps.report.page import accuracies as accuracy_table
from sweeps.report.page import numbers, searches
from sweeps.report.sentences import sentence
from sweeps.report.words import as_good, explained, looked
from sweeps.spec.model import override
from sweeps.usecases.create import create_sweep
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies, begun, found, work_until
from tests.support.sweeps.planted_sweeps import NATIVE, analysed, planted, work


def rows(blocks: list[Block]) -> dict[str, tuple[str, ...]]:
    """The rows of the only table, by their first cell."""
    (table,) = [block for block in blocks if isinstance(block, Table)]
    return {row[0]: row[1:] for row in table.rows}


@pytest.fixture(scope="module")
def over_searches(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return found(tmp_path_factory.mktemp("searches"), accuracies((3.2, 3.5, 3.8)), OVER_SEARCHES)


@pytest.fixture(scope="module")
def over_seeds(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return found(tmp_path_factory.mktemp("seeds"), accuracies(0.5))


def test_a_table_has_what_best_is_above_each_arm_paired_by_seed(over_seeds: Findings) -> None:
    heading, table = accuracy_table(over_seeds, "target")
    assert heading == Heading("On digits-rgb", level=3)
    assert isinstance(table, Table)
    assert [column.title for column in table.columns] == [
        *("method", "T, alpha", "validation %", "test %", "best - this, points"),
    ]
    found_rows = rows([table])
    best, native = (over_seeds.confirmed[role].best.point for role in ("source", "target"))
    # NATIVE has a mean of 70.5 and a standard deviation of 1.291: t[.975, 3] * 1.291 / sqrt(4) = 2.05
    assert found_rows["Tuned on digits-rgb itself (`native`)"] == (
        f"{native.temperature:.3g}, {native.alpha:.3g}",
        *["70.50 ± 2.05 (n=4)"] * 2,
        "",
    )
    assert found_rows["Tuned on digits (`best`)"][0] == f"{best.temperature:.3g}, {best.alpha:.3g}"
    assert found_rows["Tuned on digits (`best`)"][2].startswith("70.00 ± ")
    assert found_rows["No distillation (`scratch`)"] == (
        *("", "65.00 ± 2.05 (n=4)", "65.00 ± 2.05 (n=4)", "+5.00 [+3.41, +6.59] (n=4)"),
    )
    assert found_rows["Keras default, untuned (`default-keras`)"][0] == "3, 0.5"
    assert found_rows["Keras default, untuned (`default-keras`)"][3] == "+4.00 [+2.41, +5.59] (n=4)"
    assert found_rows["Random T and α (`random`)"][0] == "", "another one for each seed"
    assert "teacher cnn-small-narrow" in found_rows
    assert "mobilenet" in found_rows


def test_the_source_has_a_table_of_its_own(over_seeds: Findings) -> None:
    found_rows = rows(accuracy_table(over_seeds, "source"))
    assert "Tuned on digits itself (`best`)" in found_rows
    assert not any("native" in name or "mobilenet" in name for name in found_rows)


def test_one_seed_is_written_as_n_1_without_an_interval(tmp_path: Path) -> None:
    findings = found(tmp_path, accuracies(0.5), override(OVER_SEEDS, {"transfer.seeds": 1}))
    cells = rows(accuracy_table(findings, "target"))["No distillation (`scratch`)"]
    assert cells == ("", "64.50 (n=1)", "64.50 (n=1)", "+5.87 (n=1, no interval)")  # 5 + sqrt(3) / 2


def test_a_status_is_a_column_only_where_something_is_not_done(over_seeds: Findings, tmp_path: Path) -> None:
    url, run = begun(tmp_path, override(OVER_SEEDS, {"retry.error": 1})), planted(accuracies(0.5))

    def broken(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.key == "transfer#target.random.1":
            raise KeyError("a mistake")
        return run(claim, params, on_step)

    work(url, broken)
    findings = analysed(url)
    found_rows = rows(accuracy_table(findings, "target"))
    assert found_rows["Random T and α (`random`)"][-1].startswith("3 of 4 done; failed: ")
    assert "(n=3)" in found_rows["Random T and α (`random`)"][2]
    assert found_rows["No distillation (`scratch`)"][-1] == ""
    assert {len(cells) for cells in found_rows.values()} == {5}
    assert {len(cells) for cells in rows(accuracy_table(findings, "source")).values()} == {4}, "all of it is done"


def test_a_baseline_that_cannot_run_says_why_as_far_as_there_is_room(tmp_path: Path) -> None:
    url = resolve(f"sqlite:///{tmp_path}/s.db")
    create_sweep(url, "s", OVER_SEEDS)
    run = planted(accuracies(0.5))

    def unavailable(claim: Claim, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.stage == "baselines":
            raise Unavailable(f"no ImageNet weights; type: export KERAS_HOME=DIR {'and more ' * 20}")
        return run(claim, params, on_step)

    work(url, unavailable)
    status = rows(accuracy_table(analysed(url), "target"))["mobilenet"][-1]
    assert status.startswith("unavailable: no ImageNet weights; type: export KERAS_HOME=DIR and more")
    assert status.endswith(" ...")
    assert len(status) <= 110


def test_all_numbers_are_verdicts_observations_and_the_target_before_the_source(over_seeds: Findings) -> None:
    more = Paragraph("the secondary questions")
    fold = numbers(over_seeds, [more])
    assert (fold.title, fold.printed) == ("All numbers", True)
    first, second, *tables, last = fold.blocks
    assert first == Paragraph(sentence(over_seeds, over_seeds.verdicts[0]))
    assert second == Bullets((*as_good(over_seeds), looked(over_seeds)))
    assert tables == [*accuracy_table(over_seeds, "target"), *accuracy_table(over_seeds, "source")]
    assert last == more


def test_controls_have_a_table_with_what_best_is_beyond_them(tmp_path: Path) -> None:
    spec = override(OVER_SEEDS, {"transfer.source_arms": ["best", "scratch", "class-mean"]})
    planted_arms = accuracies(0.5) | {"transfer#source.class-mean": [native - 3 for native in NATIVE]}
    findings = found(tmp_path, planted_arms, spec)
    blocks = numbers(findings, []).blocks
    place = blocks.index(Heading("Controls", level=3))
    table = blocks[place + 1]
    assert isinstance(table, Table)
    assert table.rows == (("class-mean", "digits", "+2.00 (n=4, all alike)", "+3.00 [+1.41, +4.59] (n=4)"),)
    assert any(line in explained(findings.controls) for line in _bullets(numbers(findings, [])))


def _bullets(fold: Fold) -> list[str]:
    return [item for block in fold.blocks if isinstance(block, Bullets) for item in block.items]


def test_searches_say_what_was_tuned_and_whether_it_matters(over_seeds: Findings) -> None:
    figure = Figure("surface", "alt", "caption", wide=True)
    fold = searches(over_seeds, [figure])
    assert (fold.title, fold.printed) == ("Where the searches looked", True)
    unknown = "whether T and alpha matter cannot be told"
    assert fold.summary == f"digits: {unknown}; digits-rgb: {unknown}"
    assert fold.blocks[0] == figure
    best = over_seeds.confirmed["source"].best
    items = _bullets(fold)
    assert items[0] == (
        f"`best`, tuned on digits: T = {best.point.temperature:.3g}, alpha = {best.point.alpha:.3g}; validation"
        f" {100 * best.accuracy.mean:.2f} (n=1)"
    )
    assert items[1].startswith("`native`, tuned on digits-rgb: T = ")
    assert items[-1].startswith("loss: `alpha*CE(labels)")
    assert not any(isinstance(block, Table) for block in fold.blocks), "one search is no list of searches"


def test_searches_of_more_than_t_and_alpha_do_not_ask_whether_these_two_matter(tmp_path: Path) -> None:
    spec = override(OVER_SEEDS, {"search.space": {"learning_rate": [0.001, 0.01]}})
    findings = found(tmp_path, accuracies(0.5), spec)
    assert all(surface.further for surface in findings.surfaces)
    fold = searches(findings, [])
    assert "T and alpha matter" not in repr([fold, brief(findings, columns=100), methods.section(findings)])
    assert fold.summary == ""
    assert not any(item.endswith(": ") or not item for item in _bullets(fold))


def test_every_search_has_its_points_and_its_regret(over_searches: Findings) -> None:
    fold = searches(over_searches, [])
    assert fold.summary.startswith("digits: T and alpha ")
    found_rows = rows(list(fold.blocks))
    assert list(found_rows) == ["t0s0", "t0s1", "t0s2"]
    regrets = [cells[2] for cells in found_rows.values()]
    # the third search found one and the same point on both datasets
    assert regrets == ["+3.20 [+1.61, +4.79] (n=4)", "+3.50 (n=2, no interval)", "the same point"]
    best = over_searches.confirmed["source"].best.point
    assert found_rows["t0s0"][0] == f"{best.temperature:.3g}, {best.alpha:.3g}"
    assert len({cells[:2] for cells in found_rows.values()}) == 3, "each search has its own points"
    assert "Over teachers" not in markdown.text([fold])


def test_several_teachers_have_an_interval_over_teachers(over_searches: Findings) -> None:
    spec = override(over_searches.spec, {"outer.teachers": 3})
    text = markdown.text([searches(replace(over_searches, spec=spec), [])])
    # here all three searches are of one teacher: a number without an interval
    assert "Over teachers, the searches of each averaged: regret +3.50 (n=1, no interval), n = teachers." in text


def test_before_a_search_is_over_it_says_so(tmp_path: Path) -> None:
    url = resolve(f"sqlite:///{tmp_path}/s.db")
    create_sweep(url, "s", OVER_SEEDS)
    work_until(url, key="native.search")
    findings = analysed(url)
    items = _bullets(searches(findings, []))
    assert items[0].startswith("`best`, tuned on digits: T = ")
    assert items[1] == "`native`, tuned on digits-rgb: not confirmed yet"
    assert "digits-rgb: not confirmed yet" in items
