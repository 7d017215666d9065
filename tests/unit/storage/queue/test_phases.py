"""storage.queue: a sweep is created as a whole; phases open, close, fail and are skipped automatically."""

import pytest
from sqlalchemy import Engine

from storage.errors import SpecConflict, SweepNotFound
from storage.queue import tasks
from storage.queue.phases import Dependency, StartLag, parse_dependencies, parse_lag, root_reason
from storage.queue.plans import PhasePlan, TaskPlan, insert_sweep
from storage.queue.tasks import Ending, given_back
from storage.records import queries
from storage.tables import TaskRecord
from tests.support.both_databases import both
from tests.support.sweeps.storage_sweeps import claimed, finished, new_sweep, states


def failed(engine: Engine, sweep_id: int) -> None:
    claim = claimed(engine, sweep_id)
    assert tasks.end(engine, claim, Ending("failed", "nan", "the loss is NaN"), cap=1)


def insert(engine: Engine, fingerprint: str, *, phases: list[PhasePlan], plan: list[TaskPlan]) -> bool:
    spec = {"v": fingerprint}
    return insert_sweep(
        engine, name="s", identity="s", spec=spec, fingerprint=fingerprint, provenance={}, phases=phases, tasks=plan
    )


def test_the_same_sweep_twice_changes_nothing_and_another_spec_is_refused(engine: Engine) -> None:
    phases, plan = [PhasePlan(name="search", stage="search", minimum=1)], [TaskPlan(key="search#0", phase="search")]
    assert insert(engine, "a", phases=phases, plan=plan)
    assert not insert(engine, "a", phases=phases, plan=plan)
    with pytest.raises(SpecConflict, match="choose another name"):
        insert(engine, "b", phases=phases, plan=plan)
    sweep = queries.find_sweep(engine, "s")
    assert sweep.spec == {"v": "a"}
    assert len(queries.task_records(engine, sweep.id)) == 1


@pytest.mark.parametrize(
    ("needs", "key", "phase", "message"),
    [
        ([Dependency("later")], "a#0", "a", "no earlier phase"),
        ([Dependency("a", after_any_end=True)], "a#0", "a", "no earlier phase"),
        ([], "a#0", "b", "does not exist"),
    ],
)
def test_an_inconsistent_plan_writes_nothing(
    engine: Engine, needs: list[Dependency], key: str, phase: str, message: str
) -> None:
    phases = [PhasePlan(name="a", stage="a", needs=tuple(needs), minimum=0)]
    with pytest.raises(ValueError, match=message):
        insert(engine, "a", phases=phases, plan=[TaskPlan(key=key, phase=phase)])
    with pytest.raises(SweepNotFound, match="none yet"):
        queries.find_sweep(engine, "s")


def test_a_phase_with_too_few_done_fails_and_every_later_phase_is_skipped_with_the_reason(engine: Engine) -> None:
    needs = {
        "search": ((), 2, 2),
        "confirm": (("search",), 1, 3),
        "transfer": (("confirm",), 1, 1),
        "baselines": ((), 0, 1),
        "measure": (("transfer?", "baselines?"), 0, 1),
    }
    sweep = new_sweep(engine, needs)
    failed(engine, sweep)
    finished(engine, claimed(engine, sweep))
    assert states(engine, sweep) == {
        "search": "failed", "confirm": "skipped", "transfer": "skipped", "baselines": "open", "measure": "blocked",
    }  # fmt: skip
    reasons = {phase.name: phase.reason for phase in queries.phase_records(engine, sweep)}
    assert reasons["search"] == "1 of 2 done, 2 needed; search#0: the loss is NaN"
    assert reasons["confirm"] == f"needs search, which failed ({reasons['search']})"
    assert reasons["transfer"] == reasons["confirm"], "the reason is the root cause alone"
    skipped = queries.task_records(engine, sweep, state="skipped")
    assert [task.key for task in skipped] == ["confirm#0", "confirm#1", "confirm#2", "transfer#0"]
    assert {task.reason for task in skipped} == {reasons["confirm"]}
    failed(engine, sweep)
    assert states(engine, sweep)["baselines"] == "closed", "a minimum of 0 is always met"
    assert states(engine, sweep)["measure"] == "open", "it only needs the others to have ended"


def test_a_chain_of_reasons_stored_by_an_older_version_is_reduced_to_its_root() -> None:
    root = "needs search, which failed (1 of 2 done, 2 needed; search#0: the loss is NaN)"
    assert root_reason(f"needs confirm, which was skipped: needs ranks, which was skipped: {root}") == root
    assert root_reason(root) == root


def test_phases_without_tasks_end_at_once_and_the_next_ones_start(engine: Engine) -> None:
    needs = {
        "baselines": ((), 0, 0),
        "middle": (("baselines",), 0, 0),
        "measure": (("middle?",), 0, 1),
        "impossible": ((), 1, 0),
        "behind": (("impossible",), 1, 1),
    }
    assert list(states(engine, new_sweep(engine, needs)).values()) == ["closed", "closed", "open", "failed", "skipped"]


@both
def test_more_tasks_than_fit_in_a_statement_are_inserted_and_read(engine: Engine) -> None:
    number = 6_000  # of 12 values each: SQLite takes 32,766 in one statement, Postgres 65,535
    sweep = new_sweep(engine, number=number)
    assert queries.phase_records(engine, sweep)[0].counts == {"waiting": number}
    assert claimed(engine, sweep).key == "search#0"
    assert [task.payload["n"] for task in queries.task_records(engine, sweep)] == list(range(number))


def test_with_a_lag_a_task_waits_only_for_those_it_follows(engine: Engine) -> None:
    sweep = new_sweep(engine, {"search": (("lag:3:2",), 0, 7)})

    def ready() -> list[str]:
        keys: list[str] = []
        while (claim := tasks.claim(engine, sweep, worker="w", host="h", pid=1, lease_s=60)) is not None:
            keys.append(claim.key.removeprefix("search#"))
            claims[keys[-1]] = claim
        return keys

    claims: dict[str, TaskRecord] = {}
    assert ready() == ["0", "1", "2"]  # 3 needs the end of 0
    assert finished(engine, claims["1"])
    assert finished(engine, claims["2"])
    assert ready() == []
    assert tasks.end(engine, claims["0"], Ending("failed", "nan", "the loss is NaN"), cap=1)
    assert ready() == ["3", "4", "5"]  # 6 needs the end of 3
    assert finished(engine, claims["4"])
    assert tasks.end(engine, claims["5"], given_back())
    assert ready() == ["5"]
    assert finished(engine, claims["3"])
    assert ready() == ["6"]
    for key in ("5", "6"):
        assert finished(engine, claims[key])
    assert states(engine, sweep) == {"search": "closed"}
    sweep = new_sweep(engine, {"search": (("lag:1:4",), 0, 6)}, name="the first four wait for nothing")
    assert ready() == ["0", "1", "2", "3"]


def test_needs_and_a_lag_are_stored_as_text_and_read_back() -> None:
    needs = [Dependency("search@t1s0"), Dependency("baselines", after_any_end=True)]
    lag = StartLag(8, first=10)
    stored = [*(need.stored() for need in needs), lag.stored()]
    assert stored == ["search@t1s0", "baselines?", "lag:8:10"]
    assert parse_dependencies(stored) == needs
    assert (parse_lag(stored), parse_lag(stored[:2])) == (lag, None)
