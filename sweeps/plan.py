"""From a spec to its phases and tasks: the whole budget, laid out before anything runs.

A phase is the part of a stage that opens and closes together. What each one needs is written here and
nowhere else; storage only keeps the promise that no task is ready before its needs are met.
"""

import math
from dataclasses import dataclass

from storage.plans import PhasePlan, TaskPlan
from sweeps.seeds import derive
from sweeps.spec import Spec, override

STAGES = ("teachers", "search", "baselines", "confirm", "native", "transfer", "measure")

# Claim order: whatever unblocks most first, then the longest. Baselines come before the searches because the
# longest single task of a sweep (AutoKeras) would otherwise run alone at the end.
_PRIORITY = {
    "teachers:source": 90,
    "teachers:target": 80,
    "confirm": 70,
    "native:confirm": 65,
    "baselines": 60,
    "search": 50,
    "native:search": 40,
    "transfer:source": 20,
    "transfer:target": 20,
    "measure": 0,
}


@dataclass(frozen=True)
class Plan:
    """The phases of a sweep in order, and its tasks."""

    phases: tuple[PhasePlan, ...]
    tasks: tuple[TaskPlan, ...]

    def count(self, stage: str) -> int:
        """How many tasks a stage has."""
        inside = {phase.name for phase in self.phases if phase.stage == stage}
        return sum(task.phase in inside for task in self.tasks)


def make_plan(spec: Spec) -> Plan:
    """Every phase and task of a sweep. The same spec gives the same plan on every machine."""
    top = spec.confirm.top
    phases = [
        _phase("teachers:source", minimum=1),
        _phase("teachers:target", minimum=1),
        _phase("search", "teachers:source", minimum=top),
        _phase("baselines"),
        _phase("confirm", "search", minimum=spec.confirm.seeds),
        _phase("native:search", "teachers:target", minimum=top),
        _phase("native:confirm", "native:search", minimum=spec.confirm.seeds),
        _phase("transfer:source", "confirm", minimum=1),
        _phase("transfer:target", "confirm", "native:confirm", minimum=1),
    ]
    # The question mark: measure waits until all the others have ended, whatever came of them.
    phases.append(_phase("measure", *(f"{phase.name}?" for phase in phases), minimum=1))
    tasks = [
        _task("teachers#source", "teachers:source", role="source", seed=derive(spec.seed, "teacher", "source")),
        _task("teachers#target", "teachers:target", role="target", seed=derive(spec.seed, "teacher", "target")),
        *_search(spec, "search", role="source", prefix="search"),
        *_baselines(spec),
        *_confirm(spec, "confirm", role="source", prefix="confirm", ranks="search.ranks"),
        *_search(spec, "native:search", role="target", prefix="native.search"),
        *_confirm(spec, "native:confirm", role="target", prefix="native.confirm", ranks="native.ranks"),
        *_transfer(spec, "source", range(spec.transfer.seeds)),
        *_transfer(spec, "target", range(spec.transfer.seeds)),
        measure_task(0),
    ]
    return Plan(tuple(phases), tuple(tasks))


SEARCHES = ("search", "native:search")  # phases that take more trials only while they are open


def more(spec: Spec, *, trials: int = 0, seeds: int = 0) -> tuple[Spec, list[TaskPlan]]:
    """A larger spec, and the tasks that it has beyond those of `spec`.

    Trials are added to both searches, which stay the same search; all of them are proposed by TPE. Seeds
    are added to every arm of transfer.
    """
    larger = override(
        spec, {"search.trials": spec.search.trials + trials, "transfer.seeds": spec.transfer.seeds + seeds}
    )
    numbers = range(spec.search.trials, larger.search.trials)
    repeats = range(spec.transfer.seeds, larger.transfer.seeds)
    return larger, [
        *_proposed(spec, "search", numbers, role="source", prefix="search"),
        *_proposed(spec, "native:search", numbers, role="target", prefix="native.search"),
        *_transfer(spec, "source", repeats),
        *_transfer(spec, "target", repeats),
    ]


def measure_task(number: int) -> TaskPlan:
    """The one task of the stage measure; `number` > 0: one more of it, after something was tried again."""
    return _task("measure#all" + (f".{number}" if number else ""), "measure")


def _phase(name: str, *needs: str, minimum: int = 0) -> PhasePlan:
    return PhasePlan(name=name, stage=name.split(":")[0], needs=needs, minimum=minimum)


def _task(key: str, phase: str, **payload: object) -> TaskPlan:
    return TaskPlan(key=key, phase=phase, payload=payload, priority=_PRIORITY[phase])


def sobol_points(spec: Spec, count: int) -> list[tuple[float, float]]:
    """The first `count` (temperature, alpha) of a scrambled Sobol sequence, on the scale of the search.

    Search and native share them: paired points on both datasets. Source: Owen 1998, scrambling of Sobol'
    points, https://doi.org/10.1006/jcom.1998.0487, as in scipy.stats.qmc.
    """
    from scipy.stats import qmc

    (t_low, t_high), (a_low, a_high) = spec.search.temperature, spec.search.alpha
    sampler = qmc.Sobol(d=2, scramble=True, rng=derive(spec.seed, "sobol"))
    # Drawn as the next power of two: the sequence is balanced there, and scipy warns elsewhere.
    unit = sampler.random_base2(math.ceil(math.log2(count)))[:count] if count else []
    # min and max: a product of floats may end one rounding step outside the range.
    return [
        (
            min(max(t_low * (t_high / t_low) ** float(u), t_low), t_high),
            min(max(a_low + (a_high - a_low) * float(v), a_low), a_high),
        )
        for u, v in unit
    ]


def _search(spec: Spec, phase: str, *, role: str, prefix: str) -> list[TaskPlan]:
    # One shared student seed for the whole search: differences between trials are (T, alpha), not luck.
    seed = derive(spec.seed, "student", "search")
    points = sobol_points(spec, (spec.search.trials + 1) // 2)
    tasks = [
        _task(f"{prefix}#{i}", phase, role=role, seed=seed, temperature=temperature, alpha=alpha)
        for i, (temperature, alpha) in enumerate(points)
    ]
    return tasks + _proposed(spec, phase, range(len(points), spec.search.trials), role=role, prefix=prefix)


def _proposed(spec: Spec, phase: str, numbers: range, *, role: str, prefix: str) -> list[TaskPlan]:
    seed = derive(spec.seed, "student", "search")
    return [
        _task(f"{prefix}#{i}", phase, role=role, seed=seed, sampler_seed=derive(spec.seed, "sampler", prefix, i))
        for i in numbers
    ]


def _confirm(spec: Spec, phase: str, *, role: str, prefix: str, ranks: str) -> list[TaskPlan]:
    return [
        _task(
            f"{prefix}#{rank}.{repeat}",
            phase,
            role=role,
            seed=derive(spec.seed, "student", "confirm", repeat),
            ranks=ranks,
            rank=rank,
            repeat=repeat,
        )
        for repeat in range(spec.confirm.seeds)
        for rank in range(spec.confirm.top)
    ]


def _transfer(spec: Spec, role: str, repeats: range) -> list[TaskPlan]:
    # Repeats outside, arms inside: an interrupted comparison is still a paired one.
    return [
        _task(
            f"transfer#{role}.{arm}.{repeat}",
            f"transfer:{role}",
            role=role,
            seed=derive(spec.seed, "student", "transfer", repeat),
            arm=arm,
            repeat=repeat,
        )
        for repeat in repeats
        for arm in spec.transfer.arms(role)
    ]


def _baselines(spec: Spec) -> list[TaskPlan]:
    return [
        _task(
            f"baselines#{method}",
            "baselines",
            role="target",
            method=method,
            seed=derive(spec.seed, "baseline", method),
        )
        for method in spec.baselines.methods
    ]
