"""Where a report comes from: spec, data, machines, versions, the numerics of its processors."""

from sweeps.analysis.findings import Findings
from sweeps.analysis.provenance import Machine, Provenance
from sweeps.plan.answer_hash import differing
from sweeps.report.document import Bullets, Fold


def section(findings: Findings) -> Fold:
    """Return the section."""
    made = findings.provenance
    spec = f"spec {findings.fingerprint[:12]}, seed {findings.spec.seed}, revision {findings.revision}"
    code = [f"code {path}, SHA-256 {digest[:12]}" for path, digest in findings.spec.code.items()]
    items = (spec, *code, *_origins(made), *dict.fromkeys(map(_machine, made.machines)), *_numerics(made), _work(made))
    return Fold("Provenance", "spec, data, machines", (Bullets(items),), printed=True)


def _origins(made: Provenance) -> list[str]:
    data = [
        f"{one.dataset}: {one.images} training images; from {one.origin}; content {one.content_hash[:12]},"
        f" split {one.split_hash[:12]}"
        for one in made.data
    ]
    return [*data, *(f"weights of {one.key}: {', '.join(one.files)}" for one in made.weights)]


def _machine(one: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in one.versions)
    machine = f"{one.cpu}, {one.cores} cores, {one.threads} thread(s) per worker"
    return f"{machine}; {versions}; commit {one.commit or 'not from a checkout'}"


def _numerics(made: Provenance) -> list[str]:
    if len(made.numerics) > 1:
        return [f"**{differing(made.numerics)}**"]
    return [f"numerics fingerprint {one}" for one in made.numerics]


def _work(made: Provenance) -> str:
    return (
        f"{made.done} of {made.planned} tasks done; {made.wall_s:.0f} s from first to last, {made.work_s:.0f} s of work"
    )
