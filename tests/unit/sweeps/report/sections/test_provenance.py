"""The provenance of a report: spec, data, each kind of machine once, and whether processors round alike."""

from dataclasses import replace

import pytest

from sweeps.findings.findings import Findings
from sweeps.findings.load import Data, Weights
from sweeps.report.document import Bullets
from sweeps.report.page import provenance
from tests.support.sweeps import builders
from tests.support.sweeps.reported_sweeps import REPORTED, run


@pytest.fixture(scope="module")
def findings() -> Findings:
    return builders.make_findings(REPORTED, run)


def lines(findings: Findings) -> tuple[str, ...]:
    fold = provenance(findings)
    assert (fold.title, fold.printed) == ("Provenance", True)
    (block,) = fold.blocks
    assert isinstance(block, Bullets)
    return block.items


def test_machines_of_one_kind_share_a_line(findings: Findings) -> None:
    machine = findings.provenance.machines[0]
    other = replace(machine, cpu="Another CPU", commit="")
    machines = (machine, machine, other)
    texts = lines(replace(findings, provenance=replace(findings.provenance, machines=machines)))
    assert len(texts) == len(lines(findings)) + 1
    assert sum(line.startswith("Another CPU, ") for line in texts) == 1
    assert sum(line.endswith("; commit not from a checkout") for line in texts) >= 1


def test_data_and_weights_are_listed_with_their_origin(findings: Findings) -> None:
    data = Data(dataset="digits", images=7, origin="scikit-learn", content_hash="c" * 64, split_hash="d" * 64)
    weights = Weights(key="baselines#mobilenet", files=("a.h5", "b.h5"))
    texts = lines(replace(findings, provenance=replace(findings.provenance, data=(data,), weights=(weights,))))
    assert texts[1] == f"digits: 7 training images; from scikit-learn; content {'c' * 12}, split {'d' * 12}"
    assert texts[2] == "weights of baselines#mobilenet: a.h5, b.h5"


def test_processors_that_round_differently_are_a_warning(findings: Findings) -> None:
    texts = lines(replace(findings, provenance=replace(findings.provenance, numerics=("f00",))))
    assert "numerics fingerprint f00" in texts
    mixed = lines(replace(findings, provenance=replace(findings.provenance, numerics=("f00", "ba2"))))
    (warning,) = [line for line in mixed if line.startswith("**")]
    assert "f00, ba2" in warning
    assert "round differently" in warning
