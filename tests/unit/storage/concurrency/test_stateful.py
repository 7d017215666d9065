"""The task table against a Python model: any operation, by any worker, in any order, with outdated claims too."""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from sqlalchemy import Engine, Row, select

from storage.db.transaction import database_now, read
from storage.errors import RevisionRefused
from storage.queue import plans, tasks, workers
from storage.queue.phases import Dependency
from storage.queue.plans import PhasePlan, TaskPlan, insert_sweep
from storage.queue.tasks import Ending, given_back, reap, reap_worker
from storage.records import queries
from storage.tables import LOST, TaskRecord
from storage.tables import attempts as attempts_table
from storage.tables import phases as phases_table
from storage.tables import tasks as tasks_table
from tests.support.both_databases import both
from tests.support.faults.task_model import Model, ModelPhase, ModelTask
from tests.support.sweeps.storage_sweeps import lapse

WORKERS = ("w0", "w1", "w2")
CAPS = {"error": 2, "nan": 1, "memory": 3, "database": None}
ENDINGS = ("done", "done", "done", "released", "error", "error", "nan", "memory", "database")
LOST_CAPS = (2, None)
NAMES = ("a", "b", "c", "d")
WHILE_OPEN = ("a",)
LEASE_S = 3600.0

rarely = st.sampled_from([False, False, False, True])
_numbers = itertools.count()


@st.composite
def drawn_plans(draw: st.DrawFn) -> list[tuple[PhasePlan, list[int]]]:
    """Draw two to four phases, each with the priorities of its tasks."""
    plan: list[tuple[PhasePlan, list[int]]] = []
    for name in NAMES[: draw(st.integers(2, 4))]:
        earlier = [Dependency(phase.name, after_any_end=any_end) for phase, _ in plan for any_end in (False, True)]
        needs = draw(st.lists(st.sampled_from(earlier), max_size=2, unique_by=lambda need: need.phase)) if plan else []
        phase = PhasePlan(name=name, stage=name, needs=tuple(needs), minimum=draw(st.integers(0, 2)))
        plan.append((phase, draw(st.lists(st.integers(0, 1), min_size=0 if plan else 2, max_size=4))))
    return plan


class TaskTable(RuleBasedStateMachine):
    """Apply each rule to the table and to the model, and compare their answers."""

    claims = Bundle("claims")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine
        self.numbers = itertools.count()
        self.done: dict[str, Any] = {}

    @initialize(plan=drawn_plans())
    def create(self, plan: list[tuple[PhasePlan, list[int]]]) -> None:
        name = f"s{next(_numbers)}"
        planned = [task for phase, priorities in plan for task in self.new_tasks(phase.name, priorities)]
        phases = [phase for phase, _ in plan]
        assert insert_sweep(
            self.engine,
            name=name,
            identity=name,
            spec={"v": 1},
            fingerprint="1",
            provenance={},
            phases=phases,
            tasks=planned,
        )
        self.sweep = queries.find_sweep(self.engine, name).id
        self.model = Model(
            [
                ModelPhase(phase.name, [(need.phase, need.after_any_end) for need in phase.needs], phase.minimum)
                for phase in phases
            ]
        )
        self.model.plan(self.added())

    @rule(target=claims, worker=st.sampled_from(WORKERS))
    def claim(self, worker: str) -> Any:
        claim = tasks.claim(self.engine, self.sweep, worker=self.named(worker), host="h", pid=1, lease_s=LEASE_S)
        fields = None if claim is None else (claim.key, claim.attempt, claim.params)
        assert fields == self.model.claim(worker)
        return multiple() if claim is None else claim

    @rule(claim=claims, what=st.sampled_from(("renew", "save", "lapse", "lapse")), number=st.integers(0, 9))
    def hold(self, claim: TaskRecord, what: str, number: int) -> None:
        at, params = (claim.id, claim.attempt), {"alpha": number / 10}
        if what == "renew":
            assert tasks.renew(self.engine, claim, LEASE_S) == self.model.renew(*at)
        elif what == "save":
            assert tasks.save_point(self.engine, claim, params) == self.model.save_point(*at, params)
        else:
            lapse(self.engine, claim)
            self.model.attempt(*at).lapsed = True

    @rule(claim=claims, ending=st.sampled_from(ENDINGS))
    def end(self, claim: TaskRecord, ending: str) -> None:
        at = (claim.id, claim.attempt)
        if ending == "done":
            outcome = {"attempt": claim.attempt}
            assert tasks.finish(self.engine, claim, outcome=outcome, score=0.5) == self.model.finish(*at)
        elif ending == "released":
            assert tasks.end(self.engine, claim, given_back()) == self.model.end(*at, "released", None, None)
        else:
            cap = CAPS[ending]
            changed = tasks.end(self.engine, claim, Ending("failed", ending, "a reason"), cap=cap)
            assert changed == self.model.end(*at, "failed", ending, cap)

    @rule(target=claims, worker=st.sampled_from(WORKERS), endings=st.lists(st.sampled_from(ENDINGS), min_size=2))
    def work(self, worker: str, endings: list[str]) -> Any:
        """Claim and end several tasks, to reach late phases."""
        records = []
        for ending in endings:
            claim = self.claim(worker)
            if not isinstance(claim, TaskRecord):
                break
            self.end(claim, ending)
            records.append(claim)
        return multiple(*records)

    @rule(target=claims, worker=st.sampled_from(WORKERS), endings=st.lists(st.sampled_from(ENDINGS), max_size=3))
    def take_over(self, worker: str, endings: list[str]) -> Any:
        """Claim a task, lose it, claim it again; then try to end the old attempt."""
        old = self.claim(worker)
        if not isinstance(old, TaskRecord):
            return multiple()
        self.hold(old, "lapse", 0)
        self.reap(None, None)
        new = self.claim(worker)
        assert isinstance(new, TaskRecord)
        for ending in endings:
            self.end(old, ending)
        return multiple(old, new)

    @rule(worker=st.sampled_from((None, *WORKERS)), cap=st.sampled_from(LOST_CAPS))
    def reap(self, worker: str | None, cap: int | None) -> None:
        expected = [(key, number, self.named(of)) for key, number, of in self.model.reap(worker, LOST, cap)]
        if worker is None:
            assert reap(self.engine, self.sweep, cap=cap) == expected
        else:
            assert reap_worker(self.engine, self.named(worker), cap=cap) == expected

    @rule(what=st.sampled_from(("pause", "resume", "resume", "resume", "cancel")))
    def steer(self, what: str) -> None:
        if what == "pause":
            workers.pause(self.engine, self.sweep)
            self.model.pause()
        elif what == "resume":
            assert workers.resume(self.engine, self.sweep) == self.model.resume()
        else:
            assert workers.cancel(self.engine, self.sweep) == self.model.cancel()

    @rule(phases=st.lists(st.sampled_from(NAMES), min_size=1, max_size=2), priority=st.integers(0, 1), late=rarely)
    def extend(self, phases: list[str], priority: int, late: bool) -> None:
        more = [task for name in phases if name in self.model.phases for task in self.new_tasks(name, [priority])]
        revision = self.model.revision - late
        spec = {"v": self.model.revision + 1}

        def change() -> None:
            plans.extend(
                self.engine, self.sweep, revision=revision, spec=spec, fingerprint=str(spec["v"]), why="more",
                tasks=more, while_open=WHILE_OPEN,
            )  # fmt: skip

        if self.allowed(change, not late and self.model.may_extend({task.phase for task in more}, WHILE_OPEN)):
            self.model.extend(self.added())

    @rule(then=st.sampled_from(("", "", "a", "d")), late=rarely)
    def retry(self, then: str, late: bool) -> None:
        more = self.new_tasks(then, [0]) if then in self.model.phases else []
        failed = [task.key for task in self.model.failed()]
        keys: list[str] = []

        def change() -> None:
            keys.extend(plans.retry(self.engine, self.sweep, revision=self.model.revision - late, then=more))

        if self.allowed(change, not failed or (not late and self.model.state != "cancelled")):
            assert keys == failed
            if failed:
                self.model.retry(self.added())

    def allowed(self, change: Callable[[], None], expected: bool) -> bool:
        if expected:
            change()
        else:
            with pytest.raises(RevisionRefused):
                change()
        return expected

    @invariant()
    def the_table_is_as_the_model_says(self) -> None:
        rows, attempts = self.rows(), self.attempts()
        self.compare(rows, attempts)
        self.keep_the_promises(rows, attempts)

    def compare(self, rows: list[Row[Any]], attempts: list[Row[Any]]) -> None:
        assert [(row.key, row.state, row.attempt, row.forgiven) for row in rows] == [
            (task.key, task.state, len(task.attempts), task.retries_reset_at) for task in self.model.tasks
        ]
        claimable = [row.key for row in rows if row.state == "waiting" and row.ready]
        assert claimable == [task.key for task in self.model.ready()]
        assert [tuple(row) for row in attempts] == [
            (task.id, number, attempt.state, attempt.error_class, attempt.params, attempt.lapsed)
            for task in self.model.tasks
            for number, attempt in enumerate(task.attempts, start=1)
        ]
        phases = queries.phase_records(self.engine, self.sweep)
        assert [(phase.name, phase.state, sum(phase.counts.values())) for phase in phases] == [
            (phase.name, phase.state, sum(task.phase == phase.name for task in self.model.tasks))
            for phase in self.model.phases.values()
        ]
        unended = sum(task.state in ("waiting", "running") for task in self.model.tasks)
        assert queries.outlook(self.engine, self.sweep) == queries.Outlook(self.model.state, unended)

    def keep_the_promises(self, rows: list[Row[Any]], attempts: list[Row[Any]]) -> None:
        """Check invariants without the model, to find a mistake made in both."""
        at_work = Counter(row.task_id for row in attempts if row.state == "running")
        assert at_work == Counter(row.id for row in rows if row.state == "running"), (
            "at most one attempt of a task runs"
        )
        done = {row.key: (row.outcome, row.score, row.attempt) for row in rows if row.state == "done"}
        assert {key: done.get(key) for key in self.done} == self.done, "a done task never changes"
        self.done = done
        left = {(row.outcome, row.score, row.finished_at) for row in rows if row.state == "waiting"}
        assert left <= {(None, None, None)}, "a waiting task keeps nothing of an earlier end"
        planned = Counter[str]()
        for revision in queries.revisions(self.engine, self.sweep):
            planned.update(revision.planned)
        assert planned == Counter(row.phase for row in rows), "every task belongs to a revision"

    def named(self, worker: str) -> str:
        """Return the name of a worker in this sweep alone: reaping a worker frees its tasks in every sweep."""
        return f"{worker} of {self.sweep}"

    def new_tasks(self, phase: str, priorities: list[int]) -> list[TaskPlan]:
        return [
            TaskPlan(key=f"{phase}#{next(self.numbers)}", phase=phase, priority=priority) for priority in priorities
        ]

    def added(self) -> list[ModelTask]:
        """Return the tasks that the model does not know yet."""
        known = {task.id for task in self.model.tasks}
        return [ModelTask(row.id, row.key, row.phase, row.priority) for row in self.rows() if row.id not in known]

    def rows(self) -> list[Row[Any]]:
        query = (
            select(tasks_table, phases_table.c.name.label("phase"))
            .join(phases_table, phases_table.c.id == tasks_table.c.phase_id)
            .where(tasks_table.c.sweep_id == self.sweep)
            .order_by(tasks_table.c.id)
        )
        with read(self.engine) as connection:
            return list(connection.execute(query))

    def attempts(self) -> list[Row[Any]]:
        table = attempts_table
        columns = (table.c.task_id, table.c.number, table.c.state, table.c.error_class, table.c.params)
        query = (
            select(*columns, table.c.lease_until < database_now())
            .join(tasks_table, tasks_table.c.id == table.c.task_id)
            .where(tasks_table.c.sweep_id == self.sweep)
            .order_by(table.c.task_id, table.c.number)
        )
        with read(self.engine) as connection:
            return list(connection.execute(query))


def compare(engine: Engine, *, examples: int, steps: int, **more: Any) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
    run_machine(lambda: TaskTable(engine), settings=chosen)


@both
def test_any_operations_in_any_order_leave_the_table_as_the_model(engine: Engine) -> None:
    # Without shrinking, which takes minutes; the slow test shrinks.
    compare(engine, examples=5, steps=40, derandomize=True, phases=(Phase.generate,))


@both
@pytest.mark.slow
def test_many_operations_in_any_order_leave_the_table_as_the_model(engine: Engine) -> None:
    compare(engine, examples=600 if engine.dialect.name == "sqlite" else 150, steps=80)
