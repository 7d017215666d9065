"""How often the test set was read, in hand-made plans and in sweeps that are extended before and after."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.errors import RevisionRefused
from storage.records import queries
from storage.tables import RevisionRecord
from sweeps.findings.findings import Findings
from sweeps.findings.load import Look, Read, looks
from sweeps.query.listing import open_sweep
from sweeps.report.sentences import sentence
from sweeps.spec.model import override
from sweeps.spec.stored import stored_spec
from sweeps.spec.tables import Group
from sweeps.usecases import steering
from tests.support.present import present
from tests.support.sweeps.planted_sweeps import PLANTED, analysed, arms, planted, work, worked

KdSweeps = Callable[..., tuple[int, str, str]]

SPEC = override(
    PLANTED,
    {
        "search.trials": 2,
        "confirm.top": 1,
        "confirm.seeds": 1,
        "baselines.methods": [],
        "transfer.looks": 2,
        "transfer.source_arms": ["best"],
        "transfer.target_arms": ["best", "scratch", "native"],
        "outer.seeds": 2,
    },
)


def plan(
    number: int, *, seeds: int, at: float, searches: int = 1, fingerprint: str = "", **changes: int
) -> RevisionRecord:
    """Return a revision; without a fingerprint it gets one made of its seeds and searches."""
    sizes = {"transfer.seeds": seeds, "outer.searches": searches}
    spec = override(SPEC, sizes | {key.replace("_", "."): value for key, value in changes.items()}).as_dict()
    return RevisionRecord(number, at, fingerprint or f"f{seeds}x{searches}", spec, planned={}, why="")


def read(at: float, repeat: int = 0, group: str = "") -> Read:
    return Read(Group.parse(group), repeat, at)


def test_a_larger_plan_is_a_new_look_only_if_the_test_was_read_before() -> None:
    plans = [plan(1, seeds=2, at=0), plan(2, seeds=4, at=10), plan(3, seeds=6, at=20), plan(4, seeds=9, at=30)]
    readings = [read(12.0, 0), read(11.0, 3), read(25.0, 4)]
    history = looks(plans, readings)
    # plan 2 was stored before anything was read, so it is the first look; plan 3 came after, so it is another
    assert [(look.number, look.fingerprint, look.seeds, look.first_read) for look in history] == [
        (1, "f4x1", 4, 11.0),
        (2, "f6x1", 6, 25.0),
        (3, "f9x1", 9, None),
    ]
    assert [look.registered_at for look in history] == [10, 20, 30]
    # plans 3 and 4 were both stored before anything of theirs was read: one look
    assert [look.seeds for look in looks(plans, readings[:2])] == [4, 9]


def test_further_searches_are_a_new_look_even_with_the_same_seeds() -> None:
    plans = [plan(1, seeds=4, at=0), plan(2, seeds=4, at=10, searches=3, outer_seeds=2)]
    readings = [read(5.0), read(16.0, 1, "t0s2"), read(15.0, 0, "t0s1")]
    first, second = looks(plans, readings)
    assert first == Look(1, "f4x1", 0, seeds=4, searches=1, first_read=5.0)
    assert second == Look(2, "f4x3", 10, seeds=4, searches=3, first_read=15.0)
    # the rest of the first look, or an unplanned seed, is not a reading of the second
    late = [read(5.0), read(20.0, 3), read(21.0, 2, "t0s1"), read(22.0, 0, "t0s3")]
    assert [look.first_read for look in looks(plans, late)] == [5.0, None]


def test_searches_that_were_planned_before_anything_was_read_are_the_first_look() -> None:
    plans = [plan(1, seeds=4, at=0), plan(2, seeds=4, at=10, searches=3)]
    (look,) = looks(plans, [read(12.0, 1, "t0s2"), read(13.0)])
    assert (look.number, look.fingerprint, look.searches, look.first_read) == (1, "f4x3", 3, 12.0)


def test_the_same_repeat_of_another_group_is_another_reading() -> None:
    plans = [
        plan(1, seeds=4, at=0, searches=2, outer_seeds=2),
        plan(2, seeds=6, at=10, searches=2, outer_seeds=4),
        plan(3, seeds=6, at=20, searches=2, outer_seeds=4, outer_teachers=2, fingerprint="teachers"),
    ]
    readings = [read(1.0), read(11.0, 2, "t0s1"), read(12.0, 4), read(21.0, 0, "t1s1")]
    assert [(look.number, look.first_read) for look in looks(plans, readings)] == [(1, 1.0), (2, 11.0), (3, 21.0)]
    assert [look.first_read for look in looks(plans, [readings[0], readings[2]])] == [1.0, 12.0, None]


def test_a_retry_is_not_a_new_look_and_keeps_the_time_of_its_plan() -> None:
    same_plans = [plan(1, seeds=2, at=0), plan(2, seeds=2, at=10)]
    for reads in ([], [read(5.0)]):
        (look,) = looks(same_plans, reads)
        assert (look.number, look.seeds, look.registered_at) == (1, 2, 0)


def test_trials_added_before_the_first_look_belong_to_its_plan() -> None:
    plans = [plan(1, seeds=2, at=0), plan(2, seeds=2, at=10, fingerprint="more trials")]
    (look,) = looks(plans, [read(20.0)])
    assert (look.fingerprint, look.registered_at, look.first_read) == ("more trials", 10, 20.0)


def test_further_searches_can_be_added_while_declared_looks_are_left(tmp_path: Path) -> None:
    url = worked(f"sqlite:///{tmp_path}/s.db", SPEC, arms(1.0))
    assert (_word(analysed(url)), analysed(url).verdicts[0].unit) == ("UNDECIDED", "seed")
    steering.extend(url, "s", searches=2)
    (waiting,) = analysed(url).verdicts
    assert (waiting.verdict, waiting.left, len(waiting.looks)) == (None, 2 * 3 * 2, 1), (
        "the second look is planned, not taken"
    )
    work(url, planted(arms(1.0)))
    findings = analysed(url)
    first, second = findings.looks
    with open_sweep(url, "s") as (engine, sweep):
        assert [first.fingerprint, second.fingerprint] == [
            revision.fingerprint for revision in queries.revisions(engine, sweep.id)
        ]
    assert [(look.seeds, look.searches) for look in (first, second)] == [(4, 1), (4, 3)]
    assert present(first.first_read) < second.registered_at < present(second.first_read)
    (target,) = findings.verdicts
    assert (_word(findings), target.unit, target.by_search) == ("TRANSFERS", "search", pytest.approx([1.0] * 3))
    verdict = present(target.verdict)
    assert (verdict.n, verdict.level) == (3, 0.01), "the second of two looks"
    for extension in ({"searches": 1}, {"seeds": 1}):
        with pytest.raises(RevisionRefused, match=r"is left \(2 of 2 used\)") as error:
            steering.extend(url, "s", **extension)
        assert "and more searches would invalidate the verdict" in str(error.value)
        assert str(error.value).endswith("--set outer.searches=6"), (
            "the suggestion doubles the searches, which are the unit"
        )
        assert "\n" not in str(error.value)
    assert analysed(url).provenance.planned == findings.provenance.planned, "a refused extension plans nothing"


def _word(findings: Findings) -> str:
    return present(findings.verdicts[0].verdict).word


def test_the_commands_that_the_answer_names_lead_to_a_decision(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    """First more seeds; when no look is left, another sweep with new seeds."""
    url = worked(f"sqlite:///{tmp_path}/kd-sweeps.db", SPEC, arms(1.0))
    findings = analysed(url)
    text = sentence(findings, findings.verdicts[0])
    assert _typed(kd_sweeps, re.findall(r"kd-sweeps (extend [^,]+),", text)) == 0
    work(url, planted(arms(1.0)))
    findings = analysed(url)
    assert _word(findings) == "TRANSFERS"
    assert findings.verdicts[0].verdict.n == findings.spec.transfer.seeds > 4
    code, _, err = kd_sweeps("extend", "s", "--seeds", "+1")
    assert (code, len(err.splitlines())) == (1, 1)
    assert _typed(kd_sweeps, re.findall(r"kd-sweeps ((?:report|create) .+?)(?:,|$)", err.strip())) == 0
    with pytest.raises(RevisionRefused):
        steering.extend(url, "s", trials=0, seeds=1)
    with open_sweep(url, "s-2") as (_, sweep):
        old, new = findings.spec, stored_spec(sweep)
    assert new.transfer == old.transfer.model_copy(update={"seeds": 2 * old.transfer.seeds})
    assert new.seed == old.seed + 1
    assert (new.source, new.target, new.search) == (old.source, old.target, old.search)


def _typed(kd_sweeps: KdSweeps, commands: list[str]) -> int:
    """Run the printed commands and return the worst exit code; fail if nothing was printed."""
    assert commands
    return max(kd_sweeps(*shlex.split(command))[0] for command in commands)
