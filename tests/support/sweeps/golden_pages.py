"""The pages of a few planted sweeps, stored in tests/data/pages. Imports no pytest.

After an intended change of a page, rewrite them and say why in the commit:
python -m tests.support.sweeps.golden_pages.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from sweeps.findings.compare import compare
from sweeps.findings.findings import Findings
from sweeps.findings.load import Machine
from sweeps.report import folder
from sweeps.report.brief import brief, compared_brief
from sweeps.report.compare import files, long_csv
from sweeps.spec.model import Spec, override
from sweeps.terminal import WIDTH
from sweeps.usecases.create import freeze
from tests.support.paths import REPOSITORY
from tests.support.sweeps import costed_sweeps
from tests.support.sweeps.answered_sweeps import OVER_SEARCHES, accuracies
from tests.support.sweeps.builders import Planted, make_findings, trials
from tests.support.sweeps.chosen_sweeps import chosen
from tests.support.sweeps.compared_sweeps import BASE, COMPARED, arms, lower
from tests.support.sweeps.reported_sweeps import REPORTED, run
from tests.support.worded import answers, judgements, sections

PAGES = REPOSITORY / "tests" / "data" / "pages"
_SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)
_MACHINE = Machine(cpu="a processor", cores="2", threads="1", versions=(("python", "3"),), commit="0" * 40)
_DAY = 24 * 60 * 60.0


def _compared() -> dict[str, str]:
    better = override(COMPARED, {"training.learning_rate": 0.002})
    planted = {"base": (COMPARED, arms(BASE)), "better": (better, arms(lower(-2.0)))}
    sweeps = [_fixed(_make_findings(spec, tests, name=name)) for name, (spec, tests) in planted.items()]
    comparison = compare(list(planted), sweeps)
    pages = files(comparison, long_csv([(name, spec, trials(spec, tests)) for name, (spec, tests) in planted.items()]))
    return _stored({"brief.txt": f"{compared_brief(comparison, columns=WIDTH)}\n", **pages})


def _half_way() -> dict[str, str]:
    begun = _make_findings(REPORTED, run, until="transfer#target.best.2")
    at_work = ("target", "best", 2)
    trainings = [
        replace(training, row=replace(training.row, state="running"))
        if (training.work.role, training.work.arm, training.work.repeat) == at_work
        else training
        for training in begun.trainings
    ]
    return _report(replace(begun, trainings=tuple(trainings)))


# The pages of a sweep as they are written now, by their path in its folder.
SWEEPS: Mapping[str, Callable[[], dict[str, str]]] = {
    "target": lambda: _report(_make_findings(REPORTED, run)),
    "alone": lambda: _report(_make_findings(override(REPORTED, {"target": None}), run)),
    "repeats": lambda: _report(_make_findings(OVER_SEARCHES, accuracies((1.3, 1.6, 1.9)))),
    "half-way": _half_way,
    "compared": _compared,
    "chosen": lambda: _text_of(_report(chosen(answers.NEAR, answers.NONE))),
    "costed": lambda: _text_of(_report(_make_findings(costed_sweeps.SPEC, costed_sweeps.planted))),
    "words": lambda: answers.pages() | sections.pages() | judgements.pages(),
}


def kept(name: str) -> dict[str, str]:
    """Return its pages in the repository."""
    return {path.name: path.read_bytes().decode() for path in (PAGES / name).iterdir()}


def _text_of(pages: dict[str, str]) -> dict[str, str]:
    return {name: pages[name] for name in ("brief.txt", "report.md", "figures.sha256")}


def _make_findings(spec: Spec, planted: Planted, **options: str) -> Findings:
    return make_findings(freeze(spec), planted, sampled=True, **options)


def _report(findings: Findings) -> dict[str, str]:
    fixed = _fixed(findings)
    return _stored({"brief.txt": f"{brief(fixed, columns=WIDTH)}\n", **folder.files(fixed)})


def _fixed(findings: Findings) -> Findings:
    """Return the findings without values that depend on machine, day or commit."""
    looks = [replace(look, registered_at=_DAY, first_read=look.first_read and 2 * _DAY) for look in findings.looks]
    provenance = replace(findings.provenance, machines=(_MACHINE,), wall_s=2000.0, work_s=1000.0)
    return replace(findings, looks=tuple(looks), provenance=provenance)


def _stored(files: Mapping[str, str]) -> dict[str, str]:
    # A figure is 6 to 60 kB and its diff is unreadable, so only its hash is stored, in pages as well.
    figures = {name: text for name, text in files.items() if name.endswith(".svg")}
    pages = {name: _SVG.sub(lambda drawn: f"<svg {_hash(drawn[0])}>", text) for name, text in files.items()}
    hashes = "".join(f"{_hash(text)}  {name}\n" for name, text in sorted(figures.items()))
    return {**{name: text for name, text in pages.items() if name not in figures}, "figures.sha256": hashes}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    for sweep in SWEEPS:
        (PAGES / sweep).mkdir(parents=True, exist_ok=True)
        for path in (PAGES / sweep).iterdir():
            path.unlink()
        for file, text in SWEEPS[sweep]().items():
            (PAGES / sweep / file).write_bytes(text.encode())
