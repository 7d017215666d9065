"""Plans as older versions made them. A stored spec names its rule itself: it lacks the keys of later ones.

From here on, whatever changes a plan is a key of the spec, stored with new sweeps and absent in older ones.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from storage.queue.phases import Dependency
from storage.queue.plans import PhasePlan, TaskPlan
from sweeps.plan.names import confirm_phase, groups, tagged, transfer_phase
from sweeps.plan.phases import make_phase, measure_phase
from sweeps.plan.tasks import Plan
from sweeps.spec.arms import AUTOKERAS_ARM
from sweeps.spec.model import Spec


def as_then(plan: Plan, spec: Spec, stored: Mapping[str, Any]) -> Plan:
    """Return a plan of today as the version made it that stored its spec.

    Args:
        stored: the plain values of the spec, as they stand in the database.
    """
    if "trials" not in stored.get("outer", {}) and len(list(groups(spec))) > 1:
        plan = Plan(_phases_of_groups(plan, spec), _on_shared_seeds(plan, spec))
    if "lag" not in stored["search"]:
        plan = replace(plan, phases=tuple(map(_before_lag, plan.phases)))
    return plan


def _before_lag(phase: PhasePlan) -> PhasePlan:
    # A trial was proposed from whatever had ended, and a test was read once the selections of its own arms were frozen.
    own = tuple(need for need in phase.needs if "confirm" not in need.phase or not need.after_any_end)
    return replace(phase, lag=None, needs=own if phase.stage == "transfer" else phase.needs)


def _phases_of_groups(plan: Plan, spec: Spec) -> tuple[PhasePlan, ...]:
    # Each group waited for its own selections alone, and the source was compared in every group.
    if not plan.phases:
        return ()  # more of a plan that is there
    phases = [phase for phase in plan.phases if phase.stage not in ("transfer", "measure")]
    for group in groups(spec):
        for role in spec.roles:
            needs = [
                Dependency(confirm_phase(one, group), after_any_end=one not in ("source", role)) for one in spec.roles
            ]
            if not group and AUTOKERAS_ARM in spec.arms(role):
                needs.append(Dependency("baselines", after_any_end=True))
            phases.append(make_phase(transfer_phase(role, group), *needs, minimum=1))
    return (*phases, measure_phase(phases))


def _on_shared_seeds(plan: Plan, spec: Spec) -> tuple[TaskPlan, ...]:
    # The arms that a search decides were trained on the seeds of the first group.
    first = [task for task in plan.tasks if task.key.startswith("transfer#")]
    further = [
        replace(
            task,
            key=tagged("transfer", group) + task.key.removeprefix("transfer"),
            phase=tagged(task.phase, group),
            payload={**task.payload, "group": group},
        )
        for group in list(groups(spec))[1:]
        for task in first
        if task.payload["arm"] in ("best", "native")
    ]
    return (*(task for task in plan.tasks if not task.key.startswith("transfer@")), *further)
