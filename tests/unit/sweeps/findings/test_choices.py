"""The advice for each target: the trainings behind it, its points and their cost."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from sweeps.findings.choices import RoleChoice, choices
from sweeps.findings.findings import Findings, findings
from sweeps.findings.load import StoredSweep, Training
from sweeps.findings.surfaces import confirmed_points
from sweeps.findings.verdicts import verdicts
from sweeps.operations.operation import decode, encode
from sweeps.plan.jobs import AnyJob, ConfirmTask, SearchTask, StudentOutcome, TeacherTask, TransferTask
from sweeps.report import answer
from sweeps.report.sentences import sentence
from sweeps.spec.model import Spec, override
from sweeps.stats.advice import advise, level_of
from sweeps.workers.runner import Outcome
from tests.support.present import present
from tests.support.sweeps import builders
from tests.support.sweeps.planted_sweeps import NATIVE, PLANTED, arms, planted
from tests.support.sweeps.quadratic_worker import changed

GROUPS = ("", "t0s1", "t0s2", "t0s3")
SPEC = override(PLANTED, {"search.trials": 2, "outer.searches": 4})
DEFAULT = SPEC.kind.features.defaults[0]
LOST = {"": 0.4, "t0s1": 0.9, "t0s2": 0.6, "t0s3": 0.2}


def by_rule_3(spec: Spec, **transfer: Any) -> Spec:
    table = spec.transfer.model_copy(update={"rule": 3, "margin_share": 0.2} | transfer)
    return spec.model_copy(update={"transfer": table})


def accuracy(job: Training, lost: Mapping[str, float], default: float) -> float:
    if job.work.arm == DEFAULT:
        return NATIVE[job.work.repeat] - default
    return arms(lost[job.work.tag])[job.work.arm][job.work.repeat]


def with_default(stored: StoredSweep, lost: Mapping[str, float] = LOST, *, default: float = 5.0) -> StoredSweep:
    """Return the sweep with trainings of the default on the target, with the seeds of every search."""
    kept = [job for job in stored.jobs if not (isinstance(job.work, TransferTask) and job.work.arm == DEFAULT)]
    jobs: list[AnyJob] = []
    for job in kept:
        jobs.append(job)
        if isinstance(job.work, TransferTask) and job.work.role == "target" and job.work.arm == "native":
            jobs.append(replace(job, work=job.work.model_copy(update={"arm": DEFAULT})))
    trained = [
        replace(job, outcome=job.outcome.model_copy(update={"test_accuracy": accuracy(job, lost, default) / 100}))
        if isinstance(job.work, TransferTask) and job.work.role == "target" and isinstance(job.outcome, StudentOutcome)
        else job
        for job in jobs
    ]
    spec = override(stored.spec, {"transfer.target_arms": [*stored.spec.transfer.target_arms, DEFAULT]})
    return replace(stored, jobs=tuple(trained), spec=by_rule_3(spec))


def run(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    """Give planted accuracies; a teacher costs 100 core-seconds, a trial 10, a confirm 1."""
    costs = {TeacherTask: 100.0, SearchTask: 10.0, ConfirmTask: 1.0}
    outcome = planted(arms(0.0))(claim, params, on_step)
    return changed(outcome, cpu_s=costs.get(type(claim.work), 0.5))


@pytest.fixture(scope="module")
def stored() -> StoredSweep:
    return builders.stored(SPEC, run)


def only(stored: StoredSweep) -> RoleChoice:
    (choice,) = choices(stored, confirmed_points(stored))
    return choice


def test_sweeps_of_older_rules_have_no_advice_and_no_key_for_it_in_json(stored: StoredSweep) -> None:
    assert choices(stored, confirmed_points(stored)) == ()
    assert b'"choices"' not in encode(Findings, findings(stored))


def test_the_advice_uses_the_searches_of_the_first_teacher(stored: StoredSweep) -> None:
    sweep = with_default(stored)
    choice = only(sweep)
    assert (choice.role, choice.dataset) == ("target", SPEC.role("target").dataset)
    runs = []
    for group in GROUPS:
        mine = arms(LOST[group])
        use = {"here": NATIVE, "elsewhere": mine["best"], "untreated": mine["scratch"]}
        use["default"] = [value - 5.0 for value in NATIVE]
        runs.append({name: dict(enumerate(values)) for name, values in use.items()})
    assert choice.choice == advise(runs, margin=2.0, margin_share=0.2)  # type: ignore[arg-type]
    assert present(choice.choice).searches == 4
    assert present(present(choice.choice).strategies[1].lost).mean == pytest.approx(fmean(LOST.values()))
    assert (choice.done, choice.left, choice.planned) == (len(sweep_trainings(sweep)), 0, len(sweep_trainings(sweep)))


def sweep_trainings(stored: StoredSweep) -> list[Training]:
    return [job for job in stored.trainings if job.work.role == "target"]


def test_the_verdict_of_rule_3_agrees_with_the_advice(stored: StoredSweep) -> None:
    for lost, word in ((0.0, "TRANSFERS"), (9.0, "FAILS")):
        sweep = with_default(stored, {group: lost + shift / 10 for group, shift in zip(GROUPS, range(4), strict=True)})
        (verdict,) = verdicts(sweep)
        elsewhere = present(only(sweep).choice).strategies[1]
        assert present(verdict.verdict).word == word
        assert (elsewhere.shown, elsewhere.worse) == (word == "TRANSFERS", word == "FAILS")
        assert present(verdict.verdict).level == level_of("elsewhere", looks=1, look=1, targets=1)
        assert present(verdict.verdict).margin == pytest.approx(present(only(sweep).choice).margin)
        assert present(verdict.regret).estimate == elsewhere.lost


def test_there_is_no_advice_before_the_last_training_has_ended(stored: StoredSweep) -> None:
    sweep = with_default(stored)
    last = sweep_trainings(sweep)[-1]
    waiting = replace(last, row=replace(last.row, state="waiting", score=None), outcome=None)
    jobs = tuple(waiting if job.key == last.key and job.work == last.work else job for job in sweep.jobs)
    choice = only(replace(sweep, jobs=jobs))
    assert (choice.choice, choice.left) == (None, 1)
    assert choice.done == choice.planned - 1


def test_without_trainings_for_the_gain_a_share_of_it_is_not_replaced_by_points(stored: StoredSweep) -> None:
    sweep = with_default(stored)

    def without(arm: str) -> StoredSweep:
        jobs = (
            failed(job) if isinstance(job.work, TransferTask) and job.work.arm == arm else job for job in sweep.jobs
        )
        return replace(sweep, jobs=tuple(jobs))

    def failed(job: AnyJob) -> AnyJob:
        return replace(job, row=replace(job.row, state="failed", score=None), outcome=None)

    broken = without("scratch")
    (verdict,) = verdicts(broken)
    assert (only(broken).choice, verdict.verdict) == (None, None)
    analysed = findings(broken)
    assert answer.headline(analysed).endswith("cannot be told.")
    assert answer.advice(analysed).commands[0] == "kd-sweeps retry s"
    assert "it needs values tuned on digits-rgb, values tuned on digits and training without a teacher on" in sentence(
        analysed, verdict
    )
    in_points = replace(broken, spec=by_rule_3(broken.spec, margin_share=0.0))
    assert present(only(in_points).choice).margin == SPEC.transfer.margin, "a margin declared in points is used"
    assert only(without("random")).choice == only(sweep).choice, "random is not part of the advice"


def test_each_strategy_has_its_point_and_its_cost(stored: StoredSweep) -> None:
    sweep = with_default(stored)
    confirmed, choice = confirmed_points(sweep), only(sweep)
    assert list(choice.points) == list(choice.seconds) == ["default", "elsewhere", "here"]
    assert choice.points["elsewhere"] == confirmed["source"].best.point
    assert choice.points["here"] == confirmed["target"].best.point
    assert choice.points["default"] is not None
    confirms = len([job for job in sweep.jobs if isinstance(job.work, ConfirmTask) and job.work.role == "source"])
    # a teacher, two trials, and a fourth of the confirms of four searches
    assert choice.seconds == {
        "default": 0.0,
        "elsewhere": pytest.approx(100 + 20 + confirms / 4),
        "here": pytest.approx(100 + 20 + confirms / 4),
    }


def test_searches_that_chose_one_point_on_both_datasets_are_counted(stored: StoredSweep) -> None:
    sweep = with_default(stored)
    points = {job.work.tag: present(job.outcome).point for job in sweep_trainings(sweep) if job.work.arm == "native"}
    other = next(point for point in points.values() if point != points[""])

    def moved(job: AnyJob, same: tuple[str, ...]) -> AnyJob:
        if not isinstance(job.work, TransferTask) or (job.work.role, job.work.arm) != ("target", "best"):
            return job
        mine = points[job.work.tag]
        point = mine if job.work.tag in same else other if other != mine else points[""]
        return replace(job, outcome=present(job.outcome).model_copy(update=point.as_dict()))

    for same in ((), GROUPS[:1], GROUPS[1:3], GROUPS):
        assert only(replace(sweep, jobs=tuple(moved(job, same) for job in sweep.jobs))).same == len(same)


def test_with_one_dataset_the_default_is_compared_with_tuning_there(stored: StoredSweep) -> None:
    alone = builders.stored(
        override(PLANTED, {"target": None, "transfer.source_arms": ["best", "scratch", DEFAULT]}),
        planted({"best": NATIVE, "scratch": [value - 9 for value in NATIVE], DEFAULT: [value - 1 for value in NATIVE]}),
    )
    choice = only(replace(alone, spec=by_rule_3(alone.spec)))
    assert (choice.role, list(choice.points), choice.same) == ("source", ["default", "here"], 0)
    advice = present(choice.choice)
    assert [strategy.name for strategy in advice.strategies] == ["default", "here"]
    assert (advice.use, advice.searches, advice.settled) == ("here", 1, False)
    assert present(advice.strategies[0].lost).mean == pytest.approx(1.0)


def test_the_advice_survives_encoding(stored: StoredSweep) -> None:
    sweep = with_default(stored)
    original = replace(findings(stored), choices=choices(sweep, confirmed_points(sweep)))
    assert decode(Findings, encode(Findings, original)).choices == original.choices
