"""One dataset: the page says whether distilling helps and tuning pays, and never speaks of transfer."""

import re

import pytest

from sweeps.distill.presets import on
from sweeps.errors import SpecError
from sweeps.findings.compare import standings
from sweeps.findings.secondary import questions
from sweeps.report import folder, older
from sweeps.report.brief import brief
from sweeps.report.page import report, title
from sweeps.spec.model import override
from sweeps.stats.estimates import Estimate
from tests.support.sweeps.builders import found
from tests.support.sweeps.planted_sweeps import PLANTED, SPREAD

ALONE = override(
    on(PLANTED, source="digits", alone=True),
    {"transfer.source_arms": ["best", "scratch", "default-keras"], "baselines.methods": []},
)
BEST = [90.0, 91.0, 89.0, 92.0]


def below(points: float) -> list[float]:
    """An arm that lies that far below best on average."""
    return [best - points - 0.5 * noise for best, noise in zip(BEST, SPREAD, strict=True)]


@pytest.mark.parametrize(
    ("scratch", "default", "word", "said", "todo"),
    [
        (5.0, 2.0, "PAYS", "Distillation gains 5.0 points on digits. Tuning T and α is better than", "Use T = "),
        (5.0, 0.0, "HELPS", "Tuning does not measurably beat Keras' untuned default (0.0 points", "Use Keras' default"),
        (5.0, -2.0, "HELPS", "Keras' untuned default is better than the tuned values (−2.0", "Use Keras' default"),
        (0.0, 0.0, "NO CLEAR GAIN", "Distillation does not measurably help on digits", "without a teacher"),
        (-3.0, 0.0, "HARMS", "Distillation costs 3.0 points on digits.", "without a teacher"),
    ],
)
def test_the_answer_is_what_was_planted(scratch: float, default: float, word: str, said: str, todo: str) -> None:
    arms = {"best": BEST, "scratch": below(scratch), "default-keras": below(default)}
    findings = found(ALONE, arms)
    assert older.badge(findings).text.startswith(f"{word}:")
    assert said in older.headline(findings)
    assert todo in older.advice(findings).text
    assert older.question(findings) == "Does distilling help on digits, and is it worth tuning T and α there?"


def test_a_default_that_is_better_is_said_to_be_whichever_it_is_and_whatever_the_tuned_values_gain() -> None:
    arms = {"best": BEST, "scratch": below(5.0), "default-keras": below(2.0), "default-keras-io": below(-2.0)}
    spec = override(ALONE, {"transfer.source_arms": list(arms)})
    findings = found(spec, arms)
    assert older.badge(findings).text == "HELPS: distilling gains; the untuned default is better than the tuned values"
    assert "keras.io's untuned default is better than the tuned values (−2.0 points, " in older.headline(findings)
    assert older.cards(findings)[1].question == "Is tuning better than keras.io's default?"
    use = "Use keras.io's default, T = 10, alpha = 0.1: it is better, the tuned values score less (−2.0 points, "
    assert older.advice(findings).text.startswith(use)
    arms["scratch"] = below(-0.5)  # the tuned values are worse than no teacher, and the default better than both
    harmed = found(spec, arms)
    assert older.advice(harmed).text.startswith(use)
    assert "keras.io's untuned default is better" in older.headline(harmed)


def test_where_the_learning_rate_was_searched_the_teacher_gets_no_credit_for_it() -> None:
    spec = override(ALONE, {"search.space": {"learning_rate": [0.001, 0.01]}})
    arms = {"best": BEST, "scratch": below(11), "scratch-tuned": below(0), "default-keras": below(12)}
    findings = found(spec, arms)
    assert older.badge(findings).text.startswith("NO CLEAR GAIN")
    assert older.headline(findings).startswith("Distillation does not measurably help on digits (0.0 points")
    assert older.cards(findings)[0].value == "0.0 points"
    assert older.advice(findings).text.startswith("Train the small network without a teacher")
    assert older.question(findings).endswith("is it worth tuning T, α and learning_rate there?")
    assert [one.name for one in questions(findings)] == ["gain on the source: best - scratch-tuned"]
    (standing,) = standings([findings])
    assert isinstance(standing.gain, Estimate)
    assert standing.gain.mean == pytest.approx(0, abs=1e-9)
    arms["scratch-tuned"], arms["default-keras"] = below(5), below(2)
    paid = found(spec, arms)
    assert "Tuning T, α and learning_rate is better than Keras' untuned default" in older.headline(paid)


def test_nothing_speaks_of_transfer() -> None:
    findings = found(ALONE, {"best": BEST, "scratch": below(5), "default-keras": below(2)})
    written = [text for name, text in folder.files(findings).items() if name.endswith((".html", ".md", ".svg"))]
    texts = [*written, report(findings), brief(findings, columns=80)]
    assert not [match for text in texts for match in re.findall(r".{0,30}[Tt]ransfer.{0,30}", text)]
    assert title(findings) == "s: digits"


def test_before_it_is_decided_the_page_says_how_far_it_is() -> None:
    arms = {"best": BEST, "scratch": below(5), "default-keras": below(2)}
    findings = found(ALONE, arms, until="transfer#source.scratch.2")
    assert older.badge(findings).text.startswith("NOT YET: ")
    assert "of 12 trainings on fresh seeds are done" in older.badge(findings).text
    assert older.headline(findings) == "Whether distilling helps on digits is not known yet."
    assert older.advice(findings).text == "Let the sweep finish."


@pytest.mark.parametrize("arms", [["best"], ["scratch", "default-keras"]])
def test_a_sweep_that_could_not_answer_is_refused(arms: list[str]) -> None:
    with pytest.raises(SpecError, match="with one dataset the answer compares best and scratch, so it must have both"):
        override(ALONE, {"transfer.source_arms": arms})
