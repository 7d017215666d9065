"""The pages of a few planted sweeps, kept in tests/data/pages. Imports no pytest.

After a page was changed on purpose, write them anew and say why in the commit:
python -m tests.support.sweeps.golden_pages.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from storage.url import resolve
from sweeps.findings.compare import compare
from sweeps.findings.findings import Findings
from sweeps.findings.load import Machine
from sweeps.operations.operation import LocalClient
from sweeps.report import folder
from sweeps.report.brief import WIDTH, brief, compared_brief
from sweeps.report.compare import files, long_csv
from tests.support.paths import REPOSITORY
from tests.support.sweeps import answered_sweeps, compared_sweeps, reported_sweeps
from tests.support.sweeps.trials_in_memory import trials_in_memory

PAGES = REPOSITORY / "tests" / "data" / "pages"
_SVG = re.compile(r"<svg.*?</svg>", re.DOTALL)
_MACHINE = Machine(cpu="a processor", cores="2", threads="1", versions=(("python", "3"),), commit="0" * 40)
_DAY = 24 * 60 * 60.0


def _with_target(at: Path) -> dict[str, str]:
    return _report(reported_sweeps.analysed(reported_sweeps.worked(at)))


def _without_target(at: Path) -> dict[str, str]:
    return _report(reported_sweeps.analysed(reported_sweeps.worked(at, target=None)))


def _with_repeats(at: Path) -> dict[str, str]:
    planted = answered_sweeps.accuracies((1.3, 1.6, 1.9))
    return _report(answered_sweeps.found(at, planted, answered_sweeps.OVER_SEARCHES))


def _half_way(at: Path) -> dict[str, str]:
    return _report(reported_sweeps.analysed(reported_sweeps.worked(at, stop_at="transfer#target.best.2")))


def _compared(at: Path) -> dict[str, str]:
    url, names = f"sqlite:///{at}/compared.db", ("base", "better")
    compared_sweeps.add(url, "base")
    compared_sweeps.add(url, "better", compared_sweeps.lower(-2.0), training__learning_rate=0.002)
    sweeps, trials = list(map(_fixed, compared_sweeps.found(url, names))), LocalClient(resolve(url)).trials
    found, rows = compare(names, sweeps), [(one.name, one.spec, trials(one.name)) for one in sweeps]
    pages = files(found, long_csv(rows))
    return _stored({"brief.txt": f"{compared_brief(found, columns=WIDTH)}\n", **pages})


SWEEPS: Mapping[str, Callable[[Path], dict[str, str]]] = {
    "target": _with_target,
    "alone": _without_target,
    "repeats": _with_repeats,
    "half-way": _half_way,
    "compared": _compared,
}


def current(name: str) -> dict[str, str]:
    """The pages of a sweep as they are written now, by their path in its folder."""
    with tempfile.TemporaryDirectory() as at, trials_in_memory():
        return SWEEPS[name](Path(at))


def kept(name: str) -> dict[str, str]:
    """Its pages in the repository."""
    return {path.name: path.read_bytes().decode() for path in (PAGES / name).iterdir()}


def _report(findings: Findings) -> dict[str, str]:
    fixed = _fixed(findings)
    return _stored({"brief.txt": f"{brief(fixed, columns=WIDTH)}\n", **folder.files(fixed)})


def _fixed(findings: Findings) -> Findings:
    """The findings without what another machine, day or commit changes: clocks, hardware and versions."""
    looks = [replace(one, registered_at=_DAY, first_read=one.first_read and 2 * _DAY) for one in findings.looks]
    provenance = replace(findings.provenance, machines=(_MACHINE,), wall_s=2000.0, work_s=1000.0)
    return replace(findings, looks=tuple(looks), provenance=provenance)


def _stored(files: Mapping[str, str]) -> dict[str, str]:
    # A figure is 6 to 60 kB and nobody reads its difference: its hash is enough, in its place in the page as well.
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
        for file, text in current(sweep).items():
            (PAGES / sweep / file).write_bytes(text.encode())
