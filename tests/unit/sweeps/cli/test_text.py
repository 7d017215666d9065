"""`status NAME --audit`: its output, its exit code, and the rights that it needs."""

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.audit.audit import Audit, StageAudit
from storage.url import resolve
from sweeps.cli.text import audit_values, describe_audit
from tests.support.sweeps.audited_sweeps import execute, finish_sweep
from tests.support.sweeps.planted_sweeps import worked

KdSweeps = Callable[..., tuple[int, str, str]]


CLEAN = """\
stage      planned  done  failed  cancelled  skipped  waiting  running
teachers   2        2     0       0          0        0        0
search     4        4     0       0          0        0        0
baselines  1        1     0       0          0        0        0
confirm    1        1     0       0          0        0        0
native     5        5     0       0          0        0        0
transfer   20       20    0       0          0        0        0
measure    1        1     0       0          0        0        0

audit: 34 planned, 34 accounted for, 0 violations, 0 warnings
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/kd-sweeps.db"
    finish_sweep(url)
    return url


def test_a_clean_audit_prints_a_table_and_its_totals_and_exits_0(kd_sweeps: KdSweeps, url: str) -> None:
    code, out, err = kd_sweeps("status", "s", "--audit", "--storage", url)
    *table, last = out.splitlines(keepends=True)
    assert (code, "".join(table)) == (0, CLEAN)
    assert re.fullmatch(r"answer hash [0-9a-f]{12}\n", last)
    assert err.startswith("storage ")


def test_violations_come_after_the_table_and_before_warnings_and_exit_1(kd_sweeps: KdSweeps, url: str) -> None:
    execute(
        url,
        "UPDATE tasks SET score = 0.25 WHERE key = 'confirm#0.0'",
        "UPDATE tasks SET outcome = '{' WHERE key = 'search#3'",
        "DELETE FROM trial_user_attributes WHERE key = 'kd-sweeps' AND trial_id IN (SELECT trial_id FROM trials JOIN"
        " studies ON studies.study_id = trials.study_id WHERE study_name = 's' AND number = 1)",
    )
    code, out, _ = kd_sweeps("status", "s", "--audit", "--storage", url)
    assert code == 1
    table, _, rest = out.partition("\n\n")
    assert table == CLEAN.partition("\n\n")[0]
    starts = (
        "violation: search#1 attempt 1 is failed: expected trial 1 of study s, found one of another tool",
        "violation: search#3: its outcome is not JSON",
        "violation: confirm#0.0: expected one value, found score 0.25",
        "warning: study s: trial 1 made by another tool",
        "audit: 34 planned, 34 accounted for, 3 violations, 1 warning",
    )
    for line, start in zip(rest.splitlines(), starts, strict=True):
        assert line.startswith(start)


def test_an_audit_counts_unavailable_tasks_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = [StageAudit(stage="baselines", planned=2, done=1, failed=1, cancelled=0, skipped=0, waiting=0, running=0)]
    result = Audit(stages=stages, violations=[], warnings=[], notes=[])
    head, row = describe_audit(result, {"baselines": 1}).splitlines()[:2]
    assert dict(zip(head.split(), row.split(), strict=True))["unavailable"] == "1"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    narrower = describe_audit(result, {"baselines": 1}).splitlines()[:2]
    assert [line.split() for line in narrower] == [head.split(), row.split()], "no cell was wrapped"
    assert max(map(len, narrower)) <= 80 < len(head)
    assert audit_values("s", result, {"baselines": 1})["stages"]["baselines"]["failed"] == 0
    assert "unavailable" not in describe_audit(result, {})


def test_an_audit_is_printed_as_json(kd_sweeps: KdSweeps, url: str) -> None:
    """test_main checks that the other formats have the same rows as JSON."""
    execute(url, "UPDATE tasks SET score = 0.25 WHERE key = 'confirm#0.0'")
    code, out, _ = kd_sweeps("status", "s", "--audit", "--storage", url, "-f", "json")
    printed = json.loads(out)
    assert code == 1
    assert set(printed) == {"sweep", "planned", "accounted", "stages", "violations", "warnings", "notes", "answer_hash"}
    states = ("failed", "unavailable", "cancelled", "skipped", "waiting", "running")
    assert printed["stages"]["transfer"] == {"planned": 20, "done": 20, **dict.fromkeys(states, 0)}
    (violation,) = printed["violations"]
    assert violation.startswith("confirm#0.0: expected one value, found score 0.25")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE sweeps SET spec = 'seed = 1'", "no longer JSON"),
        ("DROP TABLE trial_values", "trial_values"),
        ("ALTER TABLE trials RENAME TO trials_old", "trials"),
    ],
)
def test_a_storage_that_cannot_be_audited_gives_a_one_line_error(
    kd_sweeps: KdSweeps, url: str, damage: str, words: str
) -> None:
    execute(url, damage)
    code, out, err = kd_sweeps("status", "s", "--audit", "--storage", url)
    assert (code, out) == (1, "")
    assert words in err.splitlines()[-1]
    assert len([line for line in err.splitlines() if not line.startswith("storage ")]) == 1


def test_a_role_with_select_alone_can_use_every_reading_command(kd_sweeps: KdSweeps, postgres_url: str) -> None:
    worked(postgres_url, stop_at="search#2")
    role = f"auditor_{uuid.uuid4().hex[:8]}"
    execute(postgres_url, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    viewed = resolve(postgres_url).set(username=role).render_as_string(hide_password=False)
    try:
        for command in (["status", "s", "--audit"], ["status", "s"], ["best", "s"], ["report", "s"], ["trials", "s"]):
            code, out, _ = kd_sweeps(*command, "--storage", viewed)
            assert (code, bool(out)) == (0, True), command
        code, _, err = kd_sweeps("pause", "s", "--storage", viewed)
        assert code == 1, "the role cannot write"
        assert "permission denied" in err.splitlines()[-1]
    finally:
        execute(postgres_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
