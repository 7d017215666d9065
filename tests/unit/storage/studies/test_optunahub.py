"""A sampler that OptunaHub loads from a folder, as docs/how-to/samplers.md shows it. Nothing is downloaded."""

import sys
from pathlib import Path

import pytest

from storage.records.queries import Past
from storage.studies.sampler import check_sampler, propose
from storage.studies.space import Range, Space

pytest.importorskip("optunahub", reason="OptunaHub is not installed here; make brings it")

SPACE: Space = {"temperature": Range(1.0, 20.0, log=True), "alpha": Range(0.0, 1.0)}
HISTORY = [Past({"temperature": 4.0, "alpha": alpha}, 1 - abs(alpha - 0.4)) for alpha in (0.1, 0.5, 0.9)]

PACKAGE = """
import random
import optunahub

class NearTheBest(optunahub.samplers.SimpleBaseSampler):
    def __init__(self, seed):
        super().__init__(seed=seed)
        self.random, self.is_ready = random.Random(seed), False

    def before_trial(self, study, trial):
        self.is_ready = True

    def sample_relative(self, study, trial, search_space):
        if not search_space or not self.is_ready:
            return {}
        best = study.best_trial.params
        return {name: value * self.random.uniform(0.99, 1.01) for name, value in best.items()}
"""
MAKER = """
import optunahub

def make(seed):
    return optunahub.load_local_module("samplers/near_the_best", registry_root={root!r}).NearTheBest(seed=seed)
"""


def test_a_sampler_of_optunahub_proposes_from_earlier_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTUNAHUB_NO_ANALYTICS", "1")
    package = tmp_path / "package" / "samplers" / "near_the_best"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (tmp_path / "hub_sampler.py").write_text(MAKER.format(root=str(tmp_path / "package")))
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        check_sampler("hub_sampler:make")
        point = propose(SPACE, HISTORY, sampler="hub_sampler:make", seed=3)
        assert point["temperature"] == pytest.approx(4.0, rel=0.01)
        assert point["alpha"] == pytest.approx(0.5, rel=0.01)
        assert point == propose(SPACE, HISTORY, sampler="hub_sampler:make", seed=3)
        assert point != propose(SPACE, HISTORY, sampler="hub_sampler:make", seed=4)
        at_first = propose(SPACE, [], sampler="hub_sampler:make", seed=3)
        assert all(value in SPACE[name] for name, value in at_first.items())
    finally:
        sys.modules.pop("hub_sampler", None)
