"""A command with --url prints the same bytes as with the database."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sweeps import reported_sweeps
from tests.support.sweeps.typed_commands import KdSweeps
from tests.support.web.services import OPERATOR, TOKENS, Service, serving

pytestmark = pytest.mark.processes


# QUERIES has every query once, FURTHER what the client makes of the same answers.
QUERIES = [
    ["status", "s"],
    ["status", "s", "--audit"],
    ["workers", "s"],
    ["best", "s"],
    ["trials", "s"],
    ["report", "s"],
    ["compare", "s"],
    ["list"],
    ["logs", "s", "--task", "search#0"],
    ["extend", "s", "--seeds", "+1", "--dry-run"],
]
FURTHER = [
    ["status", "s", "-f", "json"],
    ["status", "s", "--field", "stages.search.done"],
    ["best", "s", "--paste"],
    ["trials", "s", "--stage", "search", "-f", "yaml"],
    ["trials", "s", "--stage", "nowhere"],
    ["report", "s", "-f", "brief"],
    ["report", "s", "-f", "json"],
    ["report", "s", "-f", "pdf"],
    ["logs", "s", "--task", "search#0", "-n", "1"],
    ["logs", "s", "--task", "search#0", "--attempt", "7"],
    ["logs", "s", "--task", "search#0", "--follow"],
    ["logs", "s", "--task", "../../etc/passwd"],
    ["extend", "s"],
]


class Both:
    """A database and the service in front of it, each selected by the environment."""

    def __init__(self, storage: str, service: Service, run: KdSweeps, environment: pytest.MonkeyPatch) -> None:
        self._environments = {
            "KD_SWEEPS_STORAGE": {"KD_SWEEPS_STORAGE": storage},
            "KD_SWEEPS_URL": {"KD_SWEEPS_URL": service.url, "KD_SWEEPS_TOKEN": OPERATOR},
        }
        self._run, self._environment = run, environment

    def on(self, place: str, *command: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr, without ages and without the name of the place."""
        with self._environment.context() as patched:
            for name, value in self._environments[place].items():
                patched.setenv(name, value)
            code, out, err = self._run(*command)
        messages = "".join(line for line in err.splitlines(True) if not line.startswith(("storage ", "service ")))
        return code, _timeless(out), messages

    def same(self, *command: str) -> int:
        """Check that both print the same; return the exit code."""
        code, out, err = self.on("KD_SWEEPS_STORAGE", *command)
        assert self.on("KD_SWEEPS_URL", *command) == (code, out, err), command
        return code

    def written(self, place: str, *command: str) -> dict[Path, bytes]:
        """Return the files that a command writes."""
        code, _, err = self.on(place, *command, "-o", place)
        assert code == 0, err
        return {path.relative_to(place): path.read_bytes() for path in Path(place).rglob("*.*")}


def _timeless(text: str) -> str:
    """Return the text without values that differ between two moments: ages of workers, remaining leases."""
    text = re.sub(r"\d[\d.e+]* (s|min|h) ago", "ago", text)
    text = re.sub(r"lease -?\d+ s", "lease", text)
    return re.sub(r'("(?:seen_s|lease_left_s|idle_s)": )[\d.e+-]+', r"\1", text)


@pytest.fixture
def both(
    storage_url: str,
    tmp_path: Path,
    kd_sweeps: KdSweeps,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[Both]:
    reported_sweeps.worked(storage_url, stop_at=getattr(request, "param", ""))
    with serving(storage_url, folder=tmp_path, tokens=TOKENS) as service:
        yield Both(storage_url, service, kd_sweeps, monkeypatch)


@pytest.mark.slow_on("postgres")
def test_a_finished_sweep_reads_the_same_over_http(both: Both) -> None:
    codes = {" ".join(command): both.same(*command) for command in QUERIES + FURTHER}
    assert {command for command, code in codes.items() if code == 0} >= {"best s", "report s", "status s --audit"}
    assert codes["logs s --task ../../etc/passwd"] == 1
    assert codes["trials s --stage nowhere"] == codes["extend s"] == 2
    folders = [both.written(place, "report", "s") for place in ("KD_SWEEPS_STORAGE", "KD_SWEEPS_URL")]
    assert folders[0] == folders[1]
    assert Path("report.html") in folders[0]


@pytest.mark.parametrize("both", ["transfer#target"], indirect=True)
@pytest.mark.slow_on("postgres")
def test_half_a_sweep_reads_and_steers_the_same_over_http(both: Both) -> None:
    for command in QUERIES:
        both.same(*command)
    # Each command is given twice, once each way: the second one finds the sweep as the first left it.
    assert both.same("pause", "s") == 0
    assert both.same("resume", "s") == 0
    code, _, err = both.on("KD_SWEEPS_URL", "extend", "s", "--seeds", "+1")
    assert code == 0
    assert "added. Next: kd-sweeps launch s" in err
    code, _, err = both.on("KD_SWEEPS_URL", "cancel", "s")
    assert code == 0
    assert err.startswith("cancelled ")
    assert both.same("pause", "s") == 1
    assert both.same("cancel", "s") == 0
    assert both.same("status", "s") == 0
    assert both.same("retry", "s") == 0
    assert both.on("KD_SWEEPS_URL", "resume", "s")[0] == 0


@pytest.mark.parametrize("both", ["teachers#"], indirect=True)
@pytest.mark.slow_on("postgres")
def test_a_sweep_without_results_gives_every_query_the_same_exit_code(both: Both) -> None:
    codes = {" ".join(command): both.same(*command) for command in QUERIES}
    assert codes["best s"] == codes["report s"] == 3
    assert codes["logs s --task search#0"] == 1
