"""The numbers behind the answer, where no golden page shows them: failures, single seeds, teachers, no search yet."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from kd.errors import Unavailable
from sweeps.findings.findings import Findings
from sweeps.plan.jobs import AnyJob
from sweeps.report import markdown, methods
from sweeps.report.brief import brief
from sweeps.report.document import Block, Bullets, Fold, Table
from sweeps.report.page import scores, searches
from sweeps.spec.model import override
from sweeps.workers.runner import Outcome
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies
from tests.support.sweeps.builders import found
from tests.support.sweeps.planted_sweeps import planted


def rows(blocks: Iterable[Block]) -> dict[str, tuple[str, ...]]:
    """The rows of the only table, by their first cell."""
    (table,) = [block for block in blocks if isinstance(block, Table)]
    return {row[0]: row[1:] for row in table.rows}


def bullets(fold: Fold) -> list[str]:
    return [item for block in fold.blocks if isinstance(block, Bullets) for item in block.items]


def test_one_seed_is_written_as_n_1_without_an_interval() -> None:
    findings = found(override(OVER_SEEDS, {"transfer.seeds": 1}), accuracies(0.5))
    cells = rows(scores(findings, "target"))["No distillation (`scratch`)"]
    assert cells == ("", "64.50 (n=1)", "64.50 (n=1)", "+5.87 (n=1, no interval)")  # 5 + sqrt(3) / 2


def test_a_status_is_a_column_only_where_something_is_not_done() -> None:
    findings = found(OVER_SEEDS, accuracies(0.5), broken="transfer#target.random.1")
    found_rows = rows(scores(findings, "target"))
    assert found_rows["Random T and α (`random`)"][-1].startswith("3 of 4 done; failed: ")
    assert "(n=3)" in found_rows["Random T and α (`random`)"][2]
    assert found_rows["No distillation (`scratch`)"][-1] == ""
    assert {len(cells) for cells in found_rows.values()} == {5}
    assert {len(cells) for cells in rows(scores(findings, "source")).values()} == {4}, "all of it is done"


def test_a_baseline_that_cannot_run_says_why_as_far_as_there_is_room() -> None:
    def unavailable(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
        if claim.row.stage == "baselines":
            raise Unavailable(f"no ImageNet weights; type: export KERAS_HOME=DIR {'and more ' * 20}")
        return planted(accuracies(0.5))(claim, params, on_step)

    status = rows(scores(found(OVER_SEEDS, unavailable), "target"))["MobileNet 0.25 (pretrained), `mobilenet`"][-1]
    assert status.startswith("unavailable: no ImageNet weights; type: export KERAS_HOME=DIR and more")
    assert status.endswith(" ...")
    assert len(status) <= 110


def test_searches_of_more_than_t_and_alpha_do_not_ask_whether_these_two_matter() -> None:
    findings = found(override(OVER_SEEDS, {"search.space": {"learning_rate": [0.001, 0.01]}}), accuracies(0.5))
    assert all(surface.further for surface in findings.surfaces)
    fold = searches(findings)
    assert "T and alpha matter" not in repr([fold, brief(findings, columns=100), methods.section(findings)])
    assert fold.summary == ""
    assert not any(item.endswith(": ") or not item for item in bullets(fold))


def test_several_teachers_have_an_interval_over_teachers() -> None:
    findings: Findings = found(OVER_SEARCHES, accuracies((3.2, 3.5, 3.8)))
    several = replace(findings, spec=override(findings.spec, {"outer.teachers": 3}))
    assert "Over teachers" not in markdown.text([searches(findings)])
    # here all three searches are of one teacher: a number without an interval
    sentence = "Over teachers, averaged over their searches: regret +3.50 (n=1, no interval), n = teachers."
    assert sentence in markdown.text([searches(several)])


def test_before_a_search_is_over_it_says_so() -> None:
    items = bullets(searches(found(OVER_SEEDS, {}, until="native.search")))
    assert items[0].startswith("`best`, tuned on digits: T = ")
    assert items[1] == "`native`, tuned on digits-rgb: not confirmed yet"
    assert "digits-rgb: not confirmed yet" in items
