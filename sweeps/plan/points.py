"""What Optuna sees of a task: its search space, and the point that is given rather than asked for."""

import random
from typing import Any

import sqlalchemy

from storage.queue.tasks import Claim
from storage.studies.space import Choice, Range, Space
from sweeps.plan import selection
from sweeps.plan.names import best_of, group_of
from sweeps.plan.seeds import derive
from sweeps.spec.arms import DEFAULT_POINTS
from sweeps.spec.model import Spec


def search_space(spec: Spec) -> Space:
    """(T, alpha) of the search, the native search and both confirms."""
    return {
        "temperature": Range(*spec.search.temperature, log=True),
        "alpha": Range(*spec.search.alpha, log=False),
    }


def transfer_space(spec: Spec) -> Space:
    """Wide enough for every arm: a default such as T=10 may lie outside the range that was searched."""
    temperatures, alphas = zip(*((point.temperature, point.alpha) for point in DEFAULT_POINTS.values()), strict=True)
    (t_low, t_high), (a_low, a_high) = spec.search.temperature, spec.search.alpha
    return {
        "temperature": Range(min(t_low, *temperatures), max(t_high, *temperatures), log=True),
        "alpha": Range(min(a_low, *alphas), max(a_high, *alphas), log=False),
        "arm": Choice(tuple(dict.fromkeys([*spec.transfer.source_arms, *spec.transfer.target_arms]))),
        "dataset": Choice(_datasets(spec)),
    }


def _datasets(spec: Spec) -> tuple[str, ...]:
    return tuple(spec.role(role).dataset for role in spec.roles)


def space_of(spec: Spec, stage: str) -> Space:
    """The space of a stage's study; a stage without a search shows its fixed parameters as choices."""
    if stage in ("search", "confirm", "native"):
        return search_space(spec)
    if stage == "transfer":
        return transfer_space(spec)
    if stage == "teachers":
        return {
            "dataset": Choice(_datasets(spec)),
            "model": Choice(tuple(dict.fromkeys(spec.role(role).teacher for role in spec.roles))),
        }
    if stage == "baselines":
        methods = (method for role in spec.roles for method in spec.baselines.on(role))
        return {"method": Choice(tuple(dict.fromkeys(methods)))}
    return {}


def resolve_point(engine: sqlalchemy.Engine, spec: Spec, claim: Claim) -> dict[str, Any] | None:
    """The point of a task that is fixed beforehand; None asks the sampler (the TPE half of a search).

    A retry keeps the parameters of its predecessor, also where a sampler had proposed them.
    """
    payload = claim.payload
    if claim.params is not None:
        return claim.params
    if claim.stage == "teachers":
        role = spec.role(payload["role"])
        return {"dataset": role.dataset, "model": role.teacher}
    if claim.stage == "baselines":
        return {"method": payload["method"]}
    if claim.stage == "measure":
        return {}
    if claim.stage == "transfer":
        return _arm_point(engine, spec, claim) | {
            "arm": payload["arm"],
            "dataset": spec.role(payload["role"]).dataset,
        }
    if "ranks" in payload:
        ranks = selection.resolve(engine, claim.sweep_id, payload["ranks"], top=spec.confirm.top)["ranks"]
        return _temperature_and_alpha(ranks[payload["rank"]])
    if "temperature" in payload:
        return _temperature_and_alpha(payload)
    return None


def _arm_point(engine: sqlalchemy.Engine, spec: Spec, claim: Claim) -> dict[str, float]:
    arm, group = claim.payload["arm"], group_of(claim.payload)
    if arm in DEFAULT_POINTS:
        return DEFAULT_POINTS[arm].as_dict()
    if arm == "random":
        (t_low, t_high), (a_low, a_high) = spec.search.temperature, spec.search.alpha
        draw = random.Random(derive(spec.seed, "random", claim.payload["repeat"]))
        temperature = min(t_low * (t_high / t_low) ** draw.random(), t_high)
        return {"temperature": temperature, "alpha": a_low + (a_high - a_low) * draw.random()}
    # The controls that replace the teacher's logits keep the point of best, so that only the logits differ.
    name = best_of(claim.payload["role"] if arm == "native" else "source", group)
    return _temperature_and_alpha(selection.resolve(engine, claim.sweep_id, name, top=spec.confirm.top))


def _temperature_and_alpha(value: dict[str, Any]) -> dict[str, float]:
    return {"temperature": value["temperature"], "alpha": value["alpha"]}
