"""storage.audit.audit: a finished sweep is clean; a damaged spec, plan, selection or blob is found, by name."""

import contextlib
import re

import pytest

from storage.records import queries
from storage.studies.studies import open_studies
from storage.url import resolve
from sweeps.plan.audit import audit
from sweeps.usecases.steering import retry
from sweeps.workers.worker import Worker
from tests.support.sweeps.audit_checks import (
    Damages,
    as_lines,
    audited,
    check_damage,
)
from tests.support.sweeps.audited_sweeps import execute
from tests.support.sweeps.quadratic_worker import quadratic
from tests.support.sweeps.small_sweeps import created
from tests.support.sweeps.storage_sweeps import claimed

_BLOB = r"logits of teachers#\w+: expected a blob of SHA-256 [0-9a-f]{12}"


_A_BLOB = "digest IN (SELECT MIN(digest) FROM blobs)"


DAMAGES: Damages = {
    "the spec is edited": (
        ["""UPDATE sweeps SET spec = REPLACE(spec, '"trials": 4', '"trials": 5')"""],
        "the spec of the sweep was changed: expected fingerprint [0-9a-f]{12}, found [0-9a-f]{12}",
    ),
    "the spec of the first revision is edited": (
        ["""UPDATE revisions SET spec = REPLACE(spec, '"trials": 4', '"trials": 5') WHERE number = 1"""],
        "the spec of revision 1 was changed: expected fingerprint [0-9a-f]{12}, found [0-9a-f]{12}",
    ),
    "the sweep has the spec of an older revision": (
        [
            "UPDATE sweeps SET spec = (SELECT spec FROM revisions WHERE number = 1),"
            " fingerprint = (SELECT fingerprint FROM revisions WHERE number = 1)"
        ],
        "the sweep: expected the spec [0-9a-f]{12} of its revision 2, found [0-9a-f]{12}",
    ),
    "the spec is no JSON": (
        ["UPDATE sweeps SET spec = 'seed = 1'"],
        r"the spec of the sweep is not JSON \(.*\)",
    ),
    "a revision is dropped": (
        ["DELETE FROM revisions WHERE number = 1"],
        r"the plan: expected the revisions \[1, 2\], found \[2\]",
    ),
    "a planned number is edited": (
        ["""UPDATE revisions SET planned = REPLACE(planned, '"search": 4', '"search": 5') WHERE number = 1"""],
        "search: expected 5 tasks as planned, found 4",
    ),
    "the planned numbers are no JSON": (
        ["UPDATE revisions SET planned = 'many' WHERE number = 1"],
        r"the plan: expected how many tasks each phase got, found no such counts in the revisions \[1\]",
    ),
    "a selection holds a point that nobody tried": (
        ["""UPDATE selections SET value = REPLACE(value, '"alpha": 0.', '"alpha": 3.') WHERE name = 'search.ranks'"""],
        r"selection search.ranks: expected parameters with which search#\d was done, found \{.*'alpha': 3\..*\}",
    ),
    "a selection names a task that there is not": (
        [
            'UPDATE selections SET value = \'{"ranks": [{"task": "search#77", "alpha": 0.5}]}\''
            " WHERE name = 'search.ranks'"
        ],
        r"selection search.ranks: expected parameters with which search#77 was done, found \{'alpha': 0\.5\}",
    ),
    "a selection names a task that is no text": (
        ['UPDATE selections SET value = \'{"ranks": [{"task": ["x"], "alpha": 0.5}]}\' WHERE name = \'search.ranks\''],
        r"selection search.ranks: expected parameters with which \['x'\] was done, found \{'alpha': 0\.5\}",
    ),
    "a selection is no JSON": (
        ["UPDATE selections SET value = '' WHERE name = 'confirm.best'"],
        r"selection confirm.best is not JSON \(.*\)",
    ),
    "a blob is truncated": (
        [f"UPDATE blobs SET bytes = SUBSTR(bytes, 1, 100) WHERE {_A_BLOB}"],
        rf"{_BLOB}, found 100 bytes of SHA-256 [0-9a-f]{{12}}; type: kd-sweeps retry s",
    ),
    "a blob holds the bytes of another": (
        [f"UPDATE blobs SET bytes = (SELECT bytes FROM blobs WHERE NOT {_A_BLOB}) WHERE {_A_BLOB}"],
        rf"{_BLOB}, found 1500 bytes of SHA-256 [0-9a-f]{{12}}; type: kd-sweeps retry s",
    ),
    "a blob is gone": (
        [f"DELETE FROM blobs WHERE {_A_BLOB}"],
        f"{_BLOB}, found none; type: kd-sweeps retry s",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_one_line_that_says_what_was_expected_and_what_was_found(url: str, damage: str) -> None:
    check_damage(url, *DAMAGES[damage])


def test_a_finished_sweep_is_clean_and_every_task_is_counted(template: str) -> None:
    found = audited(template)
    assert (found.violations, found.warnings, found.notes) == ([], [], [])
    counts = {stage.stage: (stage.planned, stage.done) for stage in found.stages}
    assert counts == {
        "teachers": (2, 2),
        "search": (4, 4),
        "baselines": (1, 1),
        "confirm": (1, 1),
        "native": (5, 5),
        "transfer": (20, 20),  # half of them by the extension
        "measure": (1, 1),
    }
    assert found.planned == found.accounted == 34


def test_a_damaged_blob_is_made_again_by_what_the_audit_says(url: str) -> None:
    execute(url, DAMAGES["a blob is truncated"][0][0])
    (line,) = audited(url).violations
    assert line.endswith("type: kd-sweeps retry s")
    retry(resolve(url), "s")
    with Worker(resolve(url), "s", run=quadratic) as worker:
        assert worker.work() == 0
    found = audited(url)
    assert (found.violations, found.warnings) == ([], [])


def test_a_lapsed_lease_says_whose_it_was_and_what_to_type(storage_url: str) -> None:
    url = created(storage_url)
    with contextlib.closing(open_studies(url)) as opened:
        sweep = queries.find_sweep(opened.engine, "s")
        claimed(opened.engine, sweep.id, worker="good")
        assert audit(opened.engine, sweep).warnings == []
        claimed(opened.engine, sweep.id, worker="gone", lease_s=-90)
        found = as_lines(audit(opened.engine, sweep))
    assert found.violations == []
    assert re.fullmatch(
        r"\w+#\w+ attempt 1: the lease of gone on h lapsed 9\d s ago; to work on it again, type:"
        " kd-sweeps launch s; to free it only, type: kd-sweeps reap s",
        "".join(found.warnings),
    )
    stages = {stage.stage: (stage.planned, stage.waiting, stage.running) for stage in found.stages}
    assert stages["teachers"] == (2, 0, 2)
    assert stages["search"] == (4, 4, 0)
