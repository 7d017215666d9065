"""Secondary questions about the same runs, adjusted together.

Only the verdict's question was fixed before anything ran. Each further one is another chance to find something by luck,
so Holm adjusts p over all questions and targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from sweeps.findings.findings import Findings
from sweeps.findings.load import is_incomplete, scaled_scores
from sweeps.stats.estimates import Estimate, differences, holm, percent, ratio, t_p_value
from sweeps.stats.resampling import BCA_FROM, SIGN_FLIP_FROM, bca_interval, sign_flip_p
from sweeps.stats.verdict import KEPT

RETAINED = KEPT  # the share of native's gain that the retained share is tested against


@dataclass(frozen=True)
class Share:
    """The fraction of native's gain that best keeps; None if native's gain is not significant."""

    share: Estimate | None


Answer: TypeAlias = Estimate | Share


@dataclass(frozen=True, kw_only=True)
class Question:
    """One secondary question and its answer.

    rival: the arm that best is compared with; "" for a share. answer: an Estimate is in the displayed unit. p:
    two-sided t test; None if both sides are the same trainings. p_holm: adjusted for all questions of the sweep. bca:
    95 % bootstrap interval of the mean, from BCA_FROM seeds on. sign_flip: p of the sign-flip test, from SIGN_FLIP_FROM
    seeds on.
    """

    name: str
    dataset: str
    rival: str
    answer: Answer
    p: float | None
    p_holm: float | None
    bca: tuple[float, float] | None
    sign_flip: float | None


def questions(findings: Findings) -> tuple[Question, ...]:
    """Return the questions that the runs so far answer; none on a dataset whose look is incomplete."""
    possible: list[Question | None] = []
    for role in findings.spec.roles:
        if is_incomplete(findings.trainings, role):
            continue
        plain, better = findings.spec.untreated_arm(role), findings.better_default(role)
        where = "source" if role == "source" else "target"
        possible.append(_mean(findings, role, f"gain on the {where}", plain))
        if role != "source":
            if better is not None:
                possible.append(_mean(findings, role, "gain over the better default", better))
            possible.append(_retained(findings, role))
    answered = [question for question in possible if question is not None]
    keys = [f"{question.name} {question.dataset}" for question in answered]
    adjusted = holm({key: question.p for key, question in zip(keys, answered, strict=True) if question.p is not None})
    return tuple(replace(question, p_holm=adjusted.get(key)) for key, question in zip(keys, answered, strict=True))


def _question(name: str, dataset: str, rival: str, answer: Answer, values: Sequence[float]) -> Question:
    """Return a question before Holm's adjustment; values: those tested, empty if both sides are one training."""
    return Question(
        name=name,
        dataset=dataset,
        rival=rival,
        answer=answer,
        p=t_p_value(values),
        p_holm=None,
        bca=bca_interval(values) if len(values) >= BCA_FROM else None,
        sign_flip=sign_flip_p(values) if len(values) >= SIGN_FLIP_FROM else None,
    )


def _retained(findings: Findings, role: str) -> Question | None:
    best, native = (_gains_by_seed(findings, role, arm) for arm in ("best", "native"))
    shared = sorted(best.keys() & native.keys())
    share = ratio([best[seed] for seed in shared], [native[seed] for seed in shared])
    beyond = [best[seed] - RETAINED * native[seed] for seed in shared]
    if share is None:
        return None
    gained = share.low is not None and share.high is not None and sum(native[seed] for seed in shared) > 0
    name = f"retained share of native's gain; p: against {percent(RETAINED):.0f} %"
    dataset, regret = findings.spec.role(role).dataset, findings.between(role, "native", "best")
    if regret is not None and regret.is_same_point:
        return _question(name, dataset, "", regret, ())
    return _question(name, dataset, "", Share(share if gained else None), beyond)


def _mean(findings: Findings, role: str, name: str, rival: str) -> Question | None:
    mean = findings.between(role, "best", rival)
    if mean is None or mean.n < 2:
        return None
    values = differences(*(scaled_scores(findings, role, arm) for arm in ("best", rival)))
    dataset = findings.spec.role(role).dataset
    return _question(name, dataset, rival, mean, () if mean.is_same_point else values)


def _gains_by_seed(findings: Findings, role: str, arm: str) -> dict[int, float]:
    # Over scratch, in the displayed unit, by repeat.
    scores, scratch = (scaled_scores(findings, role, name) for name in (arm, findings.spec.counted_from(role)))
    return {repeat: value - scratch[repeat] for repeat, value in scores.items() if repeat in scratch}
