"""Parts of pages, for sweeps without a stored page. Imports no pytest.

`tests.support.sweeps.golden_pages` stores them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from kd.errors import Unavailable
from sweeps.findings.findings import Findings
from sweeps.plan.jobs import AnyJob
from sweeps.report import markdown, methods
from sweeps.report.page import scores, searches
from sweeps.spec.model import override
from sweeps.workers.runner import Outcome
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, OVER_SEEDS, accuracies
from tests.support.sweeps.builders import make_findings
from tests.support.sweeps.planted_sweeps import planted
from tests.support.sweeps.reported_sweeps import REPORTED, run

METHODS: Mapping[str, Mapping[str, Any]] = {
    "teachers and searches": {
        "outer.teachers": 3,
        "outer.searches": 4,
        "outer.trials": 3,
        "outer.rounds": [[2, 1]],
        "outer.seeds": 2,
    },
    "two searches": {"outer.searches": 2},
    "rounds of the confirm": {"confirm.rounds": [[4, 1], [2, 3]]},
    "Sobol points alone": {"search.sampler": "qmc"},
    "random points": {"search.sampler": "random"},
    "a range of T": {"search.temperature": [2.0, 9.0]},
    "fewer seeds of the other arms": {"transfer.other_seeds": 2},
    "a schedule": {"training.schedule": "cosine", "training.learning_rate": 0.002},
    "averaged weights": {"training.schedule": "average", "training.average_steps": 40},
    "a size of the batches": {"training.batch_size": 48},
    "one look, a margin": {"transfer.looks": 1, "transfer.margin": 1.0},
    "two looks": {"transfer.looks": 2},
    "rule 3": {"transfer.rule": 3},
    "rule 3, two searches": {"transfer.rule": 3, "outer.searches": 2},
    "AutoKeras": {"target.augment": "none", "baselines.methods": ["autokeras"], "baselines.autokeras_trials": 7},
}


def _without_weights(claim: AnyJob, params: dict[str, Any], on_step: Callable[[], None]) -> Outcome:
    if claim.row.stage == "baselines":
        raise Unavailable(f"no ImageNet weights; type: export KERAS_HOME=DIR {'and more ' * 20}")
    return planted(accuracies(0.5))(claim, params, on_step)


def _of_three_teachers() -> Findings:
    # All three searches have one teacher here, so the number has no interval.
    findings = make_findings(OVER_SEARCHES, accuracies((3.2, 3.5, 3.8)))
    return replace(findings, spec=override(findings.spec, {"outer.teachers": 3}))


NUMBERS: Mapping[str, Callable[[], Findings]] = {
    "one seed": lambda: make_findings(override(OVER_SEEDS, {"transfer.seeds": 1}), accuracies(0.5)),
    "a training failed": lambda: make_findings(OVER_SEEDS, accuracies(0.5), broken="transfer#target.random.1"),
    "a baseline cannot run here": lambda: make_findings(OVER_SEEDS, _without_weights),
    "a learning rate is searched": lambda: make_findings(
        override(OVER_SEEDS, {"search.space": {"learning_rate": [0.001, 0.01]}}), accuracies(0.5)
    ),
    "three teachers": _of_three_teachers,
    "before the search on the target": lambda: make_findings(OVER_SEEDS, {}, until="native.search"),
}


def pages() -> dict[str, str]:
    """Return what each spec changes in the Methods, and the numbers and searches of each sweep."""
    return {"methods.md": "\n".join(_methods()), "numbers.md": "\n".join(_numbers())}


def _methods() -> Iterator[str]:
    sweep = make_findings(REPORTED, run, until="search#1")
    known = _sentences(sweep)
    for name, changes in METHODS.items():
        sentences = _sentences(replace(sweep, spec=override(REPORTED, changes)))
        yield f"<!-- {name} -->\n\n" + "".join(f"- {sentence}\n" for sentence in sentences if sentence not in known)


def _sentences(findings: Findings) -> list[str]:
    return re.split(r"(?<=\.) |\n+", markdown.text([methods.section(findings)]))


def _numbers() -> Iterator[str]:
    for name, make in NUMBERS.items():
        findings = make()
        blocks = [*scores(findings, "target"), *scores(findings, "source"), searches(findings)]
        yield f"<!-- {name} -->\n\n{markdown.text(blocks)}\n"
