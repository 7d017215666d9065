"""The texts of plans and of the answers of planted sweeps, one for each possible ending. Imports no pytest.

`tests.support.sweeps.golden_pages` stores them. Over four seeds every planted difference has a standard deviation of 1
point: its 95 % interval is mean -+ 1.59, the one-sided bounds of the first look are mean -+ 1.48. Over three searches
whose regrets lie 0.3 points apart the interval is mean -+ 0.75. By rule 3 tuning on the target reaches 70 % and no
teacher 67.4 %; over eight searches whose losses have the standard deviation d it is mean -+ t[.975, 7] * d / sqrt(8).
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from storage.url import resolve
from sweeps.distill.presets import PRESETS, on, preset
from sweeps.findings.findings import Findings
from sweeps.plan.plan import make_plan
from sweeps.report import answer, choice, markdown
from sweeps.report.document import Advice
from sweeps.report.sentences import sentence
from sweeps.report.words import as_good
from sweeps.spec.model import Spec, override
from sweeps.usecases.create import describe_details, describe_plan, needed_elsewhere
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.chosen_sweeps import CHOSEN, chosen, judged
from tests.support.sweeps.planted_sweeps import NATIVE, PLANTED, SPREAD, Points
from tests.support.sweeps.presets import before

Worded: TypeAlias = Mapping[str, Callable[[], Findings]]
Changes: TypeAlias = Mapping[str, Any]


def pages() -> dict[str, str]:
    """Return the plans, and the answers by the rule that they follow."""
    worded = {"older-rules.md": OLDER, "one-dataset.md": ALONE, "rule-3.md": CHOICES}
    answers = {file: "\n".join(_worded(sweeps)) for file, sweeps in worded.items()}
    return {"plans.txt": "\n".join(f"{name}\n{_planned(spec)}\n" for name, spec in PLANS.items()), **answers}


def _planned(spec: Spec) -> str:
    plan = make_plan(spec)
    details = itertools.takewhile(lambda line: not line.startswith("phase"), describe_details(spec, plan))
    lines = [*describe_plan(spec, plan, resolve("sqlite:///a.db")), "", *details, *needed_elsewhere(spec)]
    return "".join(f"  {line}".rstrip() + "\n" for line in lines)


def _worded(sweeps: Worded) -> Iterator[str]:
    for name, make in sweeps.items():
        findings = make()
        # The page "chosen" already has the code for seven libraries.
        blocks = [replace(block, code=()) if isinstance(block, Advice) else block for block in answer.blocks(findings)]
        blocks += [answer.badge(findings)] if findings.choices else []  # printed below, among the numbers
        yield f"<!-- {name} -->\n\n{markdown.text(blocks)}\n"
        yield from (f"{sentence(findings, target)}\n" for target in findings.verdicts)
        yield from (f"- {text}\n" for text in as_good(findings))
        yield from (f"{choice.scope(findings, role)}\n" for role in findings.choices if role.choice)


TINY, QUICK = preset("tiny"), preset("quick")
SIZES = {"search.space": {"epochs": [3, 12], "batch_size": [32, 100]}}
ONE_SEED = {"transfer.seeds": 1, "transfer.other_seeds": 0, "outer.searches": 1}
OWN = {"target.dataset": "/srv/mine.npz", "target.student": "my_student:build", "baselines.methods": []}
PLANS: Mapping[str, Spec] = {
    **{f"preset {name}": preset(name) for name in PRESETS},
    "quick, best and native alone": override(QUICK, {"transfer.target_arms": ["best", "native"]}),
    "quick, a margin in points": override(QUICK, {"transfer.margin": 2.0}),
    "tiny, batch sizes": override(TINY, SIZES),
    "tiny, one batch size": override(TINY, {"search.space": {"batch_size": [48, 50]}}),
    "tiny, two teachers": override(TINY, {"target.teacher": "resnet20"}),
    "tiny, two teachers and two students": override(TINY, {"target.teacher": "resnet20", "target.student": "mlp-800"}),
    "tiny, own data and student": override(TINY, OWN),
    "rule 2: tiny": before("tiny"),
    "rule 2: tiny, three searches": override(before("tiny"), {"outer.searches": 3}),
    "rule 2: quick, one seed": override(before("quick"), ONE_SEED),
    "rule 2: full": before("full"),
}


# Rules 1 and 2: does the point transfer?


def _seeds(regret: float = 0.5, changes: Changes | None = None, **planted: float) -> Callable[[], Findings]:
    return lambda: make_findings(override(OVER_SEEDS, changes or {}), accuracies(regret, **planted))


def _searches(regrets: Points, changes: Changes | None = None) -> Callable[[], Findings]:
    return lambda: make_findings(override(OVER_SEARCHES, changes or {}), accuracies(regrets))


def _defaults(above: float) -> Callable[[], Findings]:
    """Best is 4 points above Keras' default; keras.io's, which decides, is `above` points above native."""
    spec = override(OVER_SEEDS, {"transfer.target_arms": [*OVER_SEEDS.transfer.target_arms, "default-keras-io"]})
    return lambda: make_findings(
        spec, {"transfer#target.default-keras-io": [n + above for n in NATIVE]} | accuracies(0.5)
    )


def _without_noise_of_seeds() -> Findings:
    planned = accuracies((0.0, 3.0, 6.0))
    for arm in [arm for arm in planned if arm.endswith(".best")]:
        mean = sum(native - best for native, best in zip(NATIVE, planned[arm], strict=True)) / len(NATIVE)
        planned[arm] = [native - mean for native in NATIVE]
    return make_findings(OVER_SEARCHES, planned)


def _of_files() -> Findings:
    findings = _seeds(3.5, {"source.dataset": "mnist"})()
    return replace(findings, verdicts=tuple(replace(target, dataset="/data/mine.npz") for target in findings.verdicts))


# 1.9 points over scratch and random, with noise: below the margin, not flat, and not shown to be above 0.
NOISY = {f"transfer#target.{arm}": [71.0, 66.0, 70.0, 67.4] for arm in ("scratch", "random")}
LITTLE = accuracies(0.0, gain=1.9) | NOISY
SPACE = {"search.space": {"learning_rate": [0.001, 0.01], "epochs": [2, 4]}}
ONE_LOOK, QMC = {"transfer.looks": 1}, {"search.sampler": "qmc"}
AT_THE_MARGIN = accuracies(2.0) | {"transfer#target.best": [native - 2 for native in NATIVE]}

OLDER: Worded = {
    "transfers": _seeds(),
    "transfers and scores higher": _seeds(-5.0, gain=9.5),
    "transfers within half of a small gain": _seeds(-0.5, gain=2.5),
    "fails": _seeds(3.5),
    "fails; no default is better than tuning there": _seeds(3.5, gain=0.5),
    "fails; a default is better than tuning there": _seeds(3.5, gain=0.5, untuned=-4.0),
    "flat": _seeds(-0.5, gain=0.0),
    "undecided": _seeds(1.0),
    "undecided, no look left": _seeds(1.0, ONE_LOOK),
    "undecided at the margin itself": lambda: make_findings(OVER_SEEDS, AT_THE_MARGIN),
    "undecided, little gained": lambda: make_findings(OVER_SEEDS, LITTLE),
    "distilling not shown to help": _seeds(gain=0.5),
    "distilling harms": _seeds(gain=-5.0),
    "the default as good": _seeds(untuned=0.5),
    "the default better": _seeds(untuned=-4.0),
    "distilling not shown to help, the default as good": _seeds(gain=0.5, untuned=0.5),
    "distilling not shown to help, the default better": _seeds(gain=0.5, untuned=-4.0),
    "nothing gained on the source": _seeds(source=0.5),
    "harm on the source": _seeds(source=-5.0),
    "two defaults, one as good": _defaults(0.0),
    "two defaults, one better": _defaults(4.0),
    "searches: transfers": _searches((0.2, 0.5, 0.8)),
    "searches: fails": _searches((3.2, 3.5, 3.8)),
    "searches: undecided": _searches((1.3, 1.6, 1.9)),
    "searches: undecided, no look left": _searches((1.3, 1.6, 1.9), ONE_LOOK),
    "searches: all noise is theirs": _without_noise_of_seeds,
    "searches of further parameters": _searches((3.2, 3.5, 3.8), SPACE),
    "the same point on both": _seeds(0.5, QMC),
    "the same point, nothing gained": _seeds(0.0, QMC | {"transfer.margin": 1.0}, gain=0.5),
    "two seeds": _seeds(0.5, {"transfer.seeds": 2}),
    "two seeds, the default as good": _seeds(0.5, {"transfer.seeds": 2}, untuned=0.0),
    "one seed": _seeds(0.5, {"transfer.seeds": 1, "transfer.target_arms": ["best", "native"]}),
    "without native": _seeds(0.5, {"transfer.target_arms": ["best", "scratch"]}),
    "half way": lambda: make_findings(OVER_SEEDS, accuracies(3.5), until="transfer#target.best.3"),
    "native failed": lambda: make_findings(OVER_SEEDS, accuracies(), broken="transfer#target.native"),
    "one training failed": lambda: make_findings(OVER_SEEDS, accuracies(3.5), broken="transfer#target.default-keras.1"),
    "files as datasets": _of_files,
}


# One dataset: does distilling help, and does tuning pay?

ONE_DATASET = override(
    on(PLANTED, source="digits", alone=True),
    {"transfer.source_arms": ["best", "scratch", "default-keras"], "baselines.methods": []},
)
BEST = [90.0, 91.0, 89.0, 92.0]


def below(points: float) -> list[float]:
    """Return an arm that lies that far below best on average."""
    return [best - points - 0.5 * noise for best, noise in zip(BEST, SPREAD, strict=True)]


def _alone(scratch: float, default: float, changes: Changes | None = None, **further: Any) -> Callable[[], Findings]:
    until = further.pop("until", "")
    arms = {"best": BEST, "scratch": below(scratch), "default-keras": below(default)}
    arms |= {name.replace("_", "-"): below(points) for name, points in further.items()}
    source_arms = [arm for arm in arms if arm != "scratch-tuned"]  # added where settings of the training are searched
    spec = override(ONE_DATASET, {"transfer.source_arms": source_arms, **(changes or {})})
    return lambda: make_findings(spec, arms, until=until)


RATE = {"search.space": {"learning_rate": [0.001, 0.01]}}
ALONE: Worded = {
    "pays": _alone(5.0, 2.0),
    "helps, the default as good": _alone(5.0, 0.0),
    "helps, the default better": _alone(5.0, -2.0),
    "not shown to help": _alone(0.0, 0.0),
    "harms": _alone(-3.0, 0.0),
    "two defaults, one better": _alone(5.0, 2.0, default_keras_io=-2.0),
    "harms, a default better than both": _alone(-0.5, 2.0, default_keras_io=-2.0),
    "the tuned training gains alone": _alone(11.0, 12.0, RATE, scratch_tuned=0.0),
    "pays beyond the tuned training": _alone(11.0, 2.0, RATE, scratch_tuned=5.0),
    "half way": _alone(5.0, 2.0, until="transfer#source.scratch.2"),
}


# Rule 3: what to use?

NEAR = (0.1, 0.5, 0.4, 0.2, 0.6, 0.3, 0.0, 0.3)  # points lost; their mean is 0.3, their standard deviation 0.2
NONE = (0.0, -0.3, 0.4, 0.0, -0.2, 0.0, 0.1, -0.1)
FAR = tuple(1.0 + lost for lost in NEAR)
WIDE = tuple(0.25 + 3 * (lost - 0.3) for lost in NEAR)


def _more(points: float, losses: Sequence[float]) -> list[float]:
    return [points + lost for lost in losses]


def _word(word: str, lost: Sequence[float]) -> Callable[[], Findings]:
    def make() -> Findings:
        findings = chosen(lost, NONE)
        (target,) = findings.verdicts
        assert target.verdict is not None
        return replace(findings, verdicts=(replace(target, verdict=replace(target.verdict, word=word)),))

    return make


def _few(searches: int) -> Callable[[], Findings]:
    return lambda: chosen([0.3, 0.5], 0.1, spec=override(CHOSEN, {"outer.searches": searches}))


def _changed(make: Callable[[], Findings], **changes: Any) -> Callable[[], Findings]:
    """Return the findings with other values of their only choice."""

    def make_changed() -> Findings:
        findings = make()
        (role,) = findings.choices
        return replace(findings, choices=(replace(role, **changes),))

    return make_changed


def _without(default: bool) -> Callable[[], Findings]:
    """Return the findings of a trainer without an untreated arm; default: whether it has a default."""

    def make() -> Findings:
        findings = chosen(NEAR, NONE)
        (role,) = findings.choices
        assert role.choice is not None
        kept = tuple(replace(strategy, gain=None, share=None) for strategy in role.choice.strategies[not default :])
        bare = replace(role.choice, gain=None, margin_share=0.0, strategies=kept)
        return replace(findings, choices=(replace(role, choice=bare),))

    return make


def needing(findings: Findings, searches: int | None, *, compared: int | None = None) -> Findings:
    """Return the findings with a default that needs `searches` searches and was compared in `compared` of them."""
    (role,) = findings.choices
    assert role.choice is not None
    default, *others = (replace(strategy, needed=None) for strategy in role.choice.strategies)
    assert default.lost is not None
    lost = default.lost if compared is None else replace(default.lost, n=compared)
    kept = (replace(default, needed=searches, lost=lost), *others)
    return replace(findings, choices=(replace(role, choice=replace(role.choice, strategies=kept)),))


def _no_look_left() -> Findings:
    findings = needing(chosen(WIDE, FAR), 12)
    transfer = findings.spec.transfer.model_copy(update={"looks": 1})
    return replace(findings, spec=findings.spec.model_copy(update={"transfer": transfer}))


def _training_failed() -> Findings:
    findings = chosen(WIDE, FAR)
    return replace(findings, choices=tuple(replace(role, done=role.done - 1) for role in findings.choices))


def _default_confirmed() -> Findings:
    findings = chosen(NEAR, NONE)
    (role,) = findings.choices
    points = {**role.points, "elsewhere": role.points["default"]}
    return replace(findings, choices=(replace(role, points=points),))


def _of_one_dataset() -> Findings:
    spec = override(CHOSEN, {"target": None, "transfer.source_arms": ["best", "scratch", "default-keras"]})
    planted = {"best": [70.0, 71.0, 69.0], "scratch": [67.0, 68.0, 66.0], "default-keras": [69.5, 70.4, 68.6]}
    return judged(spec, {f"transfer#source.{arm}": values for arm, values in planted.items()})


def _two_targets() -> Spec:
    return override(on(CHOSEN, targets=["digits-rgb", "mine.npz"]), {"target2.images": 180})


FEW = ["best", "scratch", "native"]
SHORT = (0.5, 0.8, 0.1, 0.9, 0.2, 0.6, 0.4, 0.5)
CHOICES: Worded = {
    "the default": lambda: chosen(NEAR, NONE),
    "the default, with what a search costs": _changed(
        lambda: chosen(NEAR, NONE), seconds={"default": 0.0, "elsewhere": 370.0, "here": 730.0}
    ),
    "the default, better than tuning": lambda: chosen([-0.5 - n for n in NEAR], [-n for n in NEAR]),
    "the default, which a search confirmed": _default_confirmed,
    "values from elsewhere": lambda: chosen(FAR, NONE),
    "tuning here": lambda: chosen(FAR, _more(0.2, FAR)),
    "tuning here, the others worse than nothing": lambda: chosen(_more(5, NEAR), _more(6, NEAR)),
    "no teacher": lambda: chosen(NEAR, NONE, gain=0.06),
    "no teacher, distilling harms": lambda: chosen(NEAR, NONE, gain=-1.0),
    "the word FAILS, the default does better": _word("FAILS", NEAR),
    "the word FAILS": _word("FAILS", FAR),
    "the word UNDECIDED, the default is good enough": _word("UNDECIDED", NEAR),
    "the word UNDECIDED": _word("UNDECIDED", FAR),
    "the word FLAT": _word("FLAT", FAR),
    "the word TRANSFERS, the default not shown to do as well": _word("TRANSFERS", SHORT),
    "flat by itself": lambda: chosen(NEAR, NONE, gain=0.1),
    "open for values from elsewhere": lambda: chosen(NEAR, WIDE),
    "not decided": lambda: chosen(WIDE, FAR),
    "not decided, compared in five searches": lambda: needing(chosen(WIDE, FAR), 7, compared=5),
    "not decided, more searches would not help": lambda: needing(chosen(WIDE, FAR), None),
    "not decided, no look left": _no_look_left,
    "not decided, a training failed": _training_failed,
    "one search": _few(1),
    "two searches": _few(2),
    "fewer seeds in further searches": lambda: chosen(NEAR, NONE, spec=override(CHOSEN, {"outer.seeds": 2})),
    "without a default": lambda: chosen(NEAR, NONE, spec=override(CHOSEN, {"transfer.target_arms": FEW})),
    "before anything is confirmed": lambda: chosen(until="confirm"),
    "half way": lambda: chosen(until="transfer#target.best.2"),
    "trainings missing": _changed(lambda: chosen(until="transfer#target.best.2"), left=0),
    "one dataset": _of_one_dataset,
    "two targets": lambda: chosen(NEAR, NONE, spec=_two_targets(), others={"target2": FAR}),
    "a trainer without an untreated arm": _without(default=True),
    "a trainer without an untreated arm and without a default": _without(default=False),
}
