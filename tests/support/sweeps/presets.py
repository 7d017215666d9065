"""The presets with rule 2 of the verdict, for tests that depend on no rule. Imports no pytest."""

import json

from sweeps.distill.spec import KdSpec, of_distillation
from sweeps.spec.model import named, parse
from tests.support.old_storages import DATA

_COMMIT = "dfc4004"
RULE_2 = {
    entry["spec"]["preset"]: of_distillation(parse(entry["spec"], origin=_COMMIT))
    for entry in json.loads((DATA / "plans.json").read_text())
    if entry["commit"] == _COMMIT
}


def before(name: str) -> KdSpec:
    """Return the preset of that name as stored by a sweep with rule 2."""
    return named(RULE_2, name)
