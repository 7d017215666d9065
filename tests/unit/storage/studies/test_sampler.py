"""storage.studies.sampler: without a database it proposes the same points as Optuna with one."""

import sys
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from storage.errors import SamplerUnusable
from storage.records.queries import Past
from storage.studies.sampler import check_sampler, distributions_of, propose
from storage.studies.space import Categorical, Range, Space, Whole

SPACE: Space = {
    "temperature": Range(1.0, 20.0, log=True),
    "alpha": Range(0.0, 1.0),
    "arm": Categorical(("best", "scratch")),
    "fixed": Range(2.0, 2.0),
    "only": Categorical(("one",)),
}


def history(finished: int, running: int, *, failed: int = 0) -> list[Past]:
    """Return random points with different scores."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    points = [study.ask(distributions_of(SPACE)).params for _ in range(finished + running)]
    scored = [Past(point, (n * 7 % 11) / 11) for n, point in enumerate(points[:finished])]
    return [*scored, *[Past({}, None)] * failed, *(Past(point, None, running=True) for point in points[finished:])]


def optunas(past: list[Past], sampler: BaseSampler) -> dict[str, object]:
    """Return what Optuna's `Study.ask` proposes for the same trials."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in past:
        state = optuna.trial.TrialState.RUNNING if trial.running else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.create_trial(
                state=state, params=dict(trial.params), distributions=distributions_of(SPACE), value=trial.value
            )
        )
    return study.ask(distributions_of(SPACE)).params


@pytest.mark.parametrize(("finished", "running"), [(0, 0), (1, 0), (2, 3), (40, 0), (40, 6)])
def test_a_proposal_equals_that_of_optunas_ask(finished: int, running: int) -> None:
    past = history(finished, running)
    assert propose(SPACE, past, sampler="tpe", seed=1) == optunas(past, TPESampler(seed=1, n_startup_trials=1))
    assert propose(SPACE, past, sampler="random", seed=1) == optunas(past, RandomSampler(seed=1))


def test_a_proposal_depends_on_the_seed_the_outcomes_and_the_running_trials() -> None:
    past = history(12, 0)
    first = propose(SPACE, past, sampler="tpe", seed=7)
    assert first == propose(SPACE, past, sampler="tpe", seed=7) != propose(SPACE, past, sampler="tpe", seed=8)
    others = [Past(trial.params, 1 - (trial.value or 0)) for trial in past]
    assert propose(SPACE, others, sampler="tpe", seed=7) != first
    assert propose(SPACE, [*past, Past(first, None, running=True)], sampler="tpe", seed=7) != first


def test_failed_trials_change_nothing() -> None:
    assert propose(SPACE, history(9, 0, failed=3), sampler="tpe", seed=1) == propose(
        SPACE, history(9, 0), sampler="tpe", seed=1
    )


def test_every_proposal_is_a_point_of_the_space() -> None:
    for seed in range(20):
        point = propose(SPACE, history(6, 2), sampler="tpe", seed=seed)
        assert list(point) == list(SPACE)
        assert all(value in SPACE[name] for name, value in point.items())


def test_a_sampler_of_the_user_proposes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_sampler.py").write_text(
        "import optuna\n"
        "def make(seed): return optuna.samplers.RandomSampler(seed=seed)\n"
        "def none(seed): return 'nothing'\n"
        "def broken(seed): import no_such_package.part\n"
        "def deferred(seed):\n"
        "    try: import no_such_package\n"
        "    except ImportError as error: raise ImportError('Tried to import no_such_package') from error\n"
        "def unnamed(seed): raise ImportError('libgomp.so.1:\\n  cannot open')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        own = propose(SPACE, history(3, 0), sampler="own_sampler:make", seed=4)
        assert own == propose(SPACE, history(3, 0), sampler="random", seed=4)
        check_sampler("own_sampler:make")
        for name, message in (
            ("own_sampler:none", "returned 'nothing', not an optuna"),
            ("own_sampler:missing", "must be package.module:make, importable here"),
            ("no_such_module:make", "No module named 'no_such_module'"),
            ("own_sampler:broken", "needs the package no_such_package; type: pip install no_such_package$"),
            ("own_sampler:deferred", "needs the package no_such_package; type: pip install no_such_package$"),
            ("own_sampler:unnamed", "sampler own_sampler:unnamed cannot be imported: libgomp.so.1: cannot open$"),
        ):
            with pytest.raises(SamplerUnusable, match=message):
                check_sampler(name)
    finally:
        sys.modules.pop("own_sampler", None)


def test_without_torch_gp_names_the_package_to_install() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(SamplerUnusable, match="sampler gp needs the package torch; type: pip install torch"):
            check_sampler("gp")
    else:
        check_sampler("gp")


@pytest.mark.parametrize("bounds", [Whole(-3, 4, log=False), Whole(0, 1000, log=False), Whole(1, 64)])
def test_whole_numbers_are_spread_as_by_optuna(bounds: Whole) -> None:
    (distribution,) = distributions_of({"n": bounds}).values()
    assert distribution == optuna.distributions.IntDistribution(bounds.low, bounds.high, log=bounds.log)
    values = [bounds.at(i / 10_000) for i in range(10_000)]
    assert all(value in bounds for value in values)
    assert {min(values), max(values)} == {bounds.low, bounds.high}
    if not bounds.log:
        number = bounds.high - bounds.low + 1
        counts = [values.count(value) for value in (bounds.low, 0, bounds.high)]
        assert max(counts) - min(counts) <= 1, "all values are equally frequent"
        assert max(counts) <= 10_000 / number + 1


@pytest.mark.parametrize(("low", "high", "log"), [(0, 3, True), (-1, 3, True), (4, 3, False)])
def test_ranges_of_whole_numbers_without_a_logarithm_or_in_reverse_order_are_refused(
    low: int, high: int, log: bool
) -> None:
    with pytest.raises(ValueError, match="a range of whole numbers needs"):
        Whole(low, high, log=log)
