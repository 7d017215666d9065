"""The page of a custom training: its words and points, a missing test, values that look like markup."""

from typing import Any

import pytest

from sweeps.plan import jobs
from sweeps.trainers.protocol import Point
from sweeps.workers.runner import Outcome
from tests.support.custom.specs import spec
from tests.support.sweeps.builders import make_findings, render_texts

CHOICES = {
    "command": "./train.sh",
    "space": {"optimizer": ["{adam}", "{0}"], "width": [8, 64]},
    "defaults": {"default": {"optimizer": "{adam}", "width": 16}},
    "untreated": {"optimizer": "{0}"},
}


def run(job: jobs.AnyJob, params: dict[str, Any], steps: Any) -> Outcome:
    """Score a point: wider is better, plus a little noise by seed."""
    point = {name: value for name, value in params.items() if name not in ("arm", "dataset")}
    score = 0.5 + point["width"] / 1000 + (job.work.seed or 0) % 1000 / 1e6
    values = {"val_accuracy": score, "parameters": point["width"], "train_s": 1.0, "cpu_s": 1.0, "blobs": {}}
    if isinstance(job.work, jobs.TransferTask):
        values |= {"test_accuracy": score, "arm": job.work.arm}
    stored = jobs.StudentOutcome.model_validate(values | Point.of(point).as_json())
    return Outcome(score=score, values=stored, attrs={})


@pytest.fixture(scope="module")
def page() -> dict[str, str]:
    return render_texts(make_findings(spec(CHOICES, source={"dataset": "my {x}"}), run))


def test_a_page_names_the_points_that_the_spec_declares(page: dict[str, str]) -> None:
    text = page["page"]
    assert "| Untreated: optimizer = {0} (`untreated`) | {0}, 16 |" in text
    assert "| Default, untuned (`default`) | {adam}, 16 |" in text
    assert "over training with optimizer = {0}" in text
    assert "On my {x} tuning gains" in text


def test_a_page_notes_before_the_answer_that_there_was_no_test(page: dict[str, str]) -> None:
    note = "This training has no test: the comparison uses validation scores"
    assert note in page["page"].partition("\n# ")[0]
    tested = spec(CHOICES | {"command": "./train.sh {test}"})
    with_test = render_texts(make_findings(tested, run))
    assert tested.kind.features.tested == "test data"
    assert note not in with_test["page"]
    assert spec(CHOICES).kind.features.tested == "fresh seeds"
    assert "images" not in page["page"] + with_test["page"], "a custom training has no images"


def test_choices_have_no_surface_and_the_page_promises_none(page: dict[str, str]) -> None:
    assert "that takes" not in page["page"]
    assert "optimizer" in page["page"]
