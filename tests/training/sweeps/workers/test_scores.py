"""Models are scored by separate tasks; the last times all models and scores only those without a score."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import kd.models.measure
from kd.models.files import to_bytes
from kd.models.named import build
from sweeps.distill.presets import preset
from sweeps.distill.session import KdTrainer
from sweeps.plan import phases
from sweeps.spec.model import override
from sweeps.trainers.protocol import Finished, Run, Steps
from tests.support.sweeps.in_process import jobs_in_process

SPEC = override(preset("tiny"), {"source.images": 64, "target.images": 64})
TEACHER = Run(kind="prepare", key="teachers#source", role="source")
STUDENT = Run(kind="train", key="transfer#source.best.0", role="source", keep=True)
ACCURACY = Run(kind="measure", key="measure#accuracy", method="accuracy")
TIMES = Run(kind="measure", key="measure#all")


class Kept:
    """The models that a sweep kept, and their scores."""

    def __init__(self, models: Mapping[Run, bytes]) -> None:
        self.models = dict(models)
        self.scored: list[Finished] = []

    def finished(self, kind: str | None = None, **_: Any) -> Sequence[Finished]:
        trained = [Finished(run=run, facts={}, artifacts=frozenset(["model"])) for run in self.models]
        return [run for run in (*trained, *self.scored) if kind in (None, run.run.kind)]

    def get(self, run: Run, name: str) -> bytes:
        return self.models[run]

    def once(self, name: str, make: Any) -> Mapping[str, Any]:
        raise AssertionError(name)


def _model(seed: int) -> bytes:
    return to_bytes(build("keras-student", (28, 28, 1), 10, seed=seed))


def test_a_score_is_reused_unless_its_model_was_remade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "_SCORED_ALONE", SPEC.transfer.rule)
    kept = Kept({TEACHER: _model(1), STUDENT: _model(2)})
    trainer = KdTrainer(SPEC, kept)
    with jobs_in_process("kd.models.measure"):
        scored = trainer.train(ACCURACY, Steps())
    scores = scored.facts["models"]
    assert list(scores) == [TEACHER.key, STUDENT.key]
    assert scored.score == scores[TEACHER.key]["test_accuracy"], "the student's is for the evaluation on the test set"
    assert scores[STUDENT.key]["int8_test_images"] == len(trainer._test_images("source"))
    kept.scored = [Finished(run=ACCURACY, facts=scored.facts, artifacts=frozenset())]

    scored_now: list[list[str]] = []
    score = kd.models.measure.score

    def noting(files: Any, **more: Any) -> Any:
        scored_now.append(list(files))
        return score(files, **more)

    monkeypatch.setattr(kd.models.measure, "score", noting)
    with jobs_in_process(), jobs_in_process("kd.models.measure"):
        timed = trainer.train(TIMES, Steps())
        assert scored_now.pop() == []
        for key, facts in scores.items():
            model = timed.facts["models"][key]
            assert {name: model.get(name, facts["digest"]) for name in facts} == facts
            assert model["latency_ms_p50"] > 0
        assert timed.score == scores[STUDENT.key]["test_accuracy"]
        kept.models[STUDENT] = _model(3)
        trainer.train(TIMES, Steps())
        assert scored_now.pop() == [STUDENT.key]


def test_without_kept_models_nothing_is_scored() -> None:
    scored = KdTrainer(SPEC, Kept({})).train(ACCURACY, Steps())
    assert (scored.score, scored.facts) == (0.0, {"models": {}})
