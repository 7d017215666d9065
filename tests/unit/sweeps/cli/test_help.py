"""--help and --version, the width of output on a terminal, and shell completion."""

import shlex
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main

from sweeps.cli.app import GROUPS, app
from sweeps.cli.options import PRESETS
from sweeps.distill import presets
from tests.support.old_storages import DATA
from tests.support.sweeps.archived_sweeps import lived
from tests.support.sweeps.small_sweeps import created

KdSweeps = Callable[..., tuple[int, str, str]]

SHELLS = {"bash": "{}", "zsh": '"{}"', "fish": "{}"}  # how each shell receives a completion


def _handed_over(shell: str, line: str) -> dict[str, str]:
    """Return the environment in which a shell asks for completions."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))} if shell == "bash" else {}
    typed = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return {"_KD_SWEEPS_COMPLETE": f"complete_{shell}"} | (words or typed)


@pytest.fixture
def completed(
    kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, str], str]:
    """Return the completions that a shell gets for a line, in an empty folder."""

    def complete(shell: str, line: str) -> str:
        for name, value in _handed_over(shell, line).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit, match="0"):
            kd_sweeps()
        return capsys.readouterr().out

    return complete


def test_every_command_is_in_one_group_and_its_summary_is_not_shortened(kd_sweeps: KdSweeps) -> None:
    listed = [name for group in GROUPS.values() for name in group]
    assert sorted(listed) == sorted(typer.main.get_command(app).commands), "each once"  # type: ignore[attr-defined]
    _, out, _ = kd_sweeps("--help")
    sections = out.split("\n\n")[-len(GROUPS) :]
    assert [section.partition(":\n")[0] for section in sections] == list(GROUPS)
    summaries = [line.split(maxsplit=1) for section in sections for line in section.splitlines()[1:]]
    assert [name for name, _ in summaries] == listed
    for name, summary in summaries:
        assert len(summary) <= 55, name
        assert summary.endswith("."), name
        assert not summary.endswith("..."), name


def test_no_help_is_wider_than_80_columns_or_shortened() -> None:
    text = (DATA / "help.txt").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 80
    assert not [line for line in text.splitlines() if line.endswith("...") and not line.startswith("Usage:")]


def test_version_prints_that_of_the_package(kd_sweeps: KdSweeps) -> None:
    assert kd_sweeps("--version") == (0, f"kd-sweeps {version('kd-sweeps')}\n", "")


def test_help_names_every_preset() -> None:
    assert tuple(presets.PRESETS) == PRESETS


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (["best"], "kd-sweeps list"),
        (["best", "--storage", "sqlite:///my.db"], "kd-sweeps list --storage sqlite:///my.db"),
        (["run"], "kd-sweeps run mnist-kd"),
        (["status", "s", "-f", "xml"], "see: kd-sweeps status --help"),
    ],
)
def test_the_error_for_a_missing_or_wrong_argument_ends_with_what_to_type(
    kd_sweeps: KdSweeps, line: list[str], command: str
) -> None:
    code, out, err = kd_sweeps(*line)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith(f"{command}\n")


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_the_sweeps_of_the_typed_storage(
    completed: Callable[[str, str], str], in_memory: None, tmp_path: Path, shell: str
) -> None:
    created(f"sqlite:///{tmp_path}/kd-sweeps.db", name="mnist-kd")
    created(f"sqlite:///{tmp_path}/my.db", name="flowers")
    form = SHELLS[shell]
    assert form.format("mnist-kd") in completed(shell, "kd-sweeps best ")
    typed = completed(shell, "kd-sweeps report --storage sqlite:///my.db fl")
    assert form.format("flowers") in typed
    assert "mnist-kd" not in typed
    assert form.format("quick") in completed(shell, "kd-sweeps run s --preset q")
    assert form.format("tiny") in completed(shell, "kd-sweeps spec t")


def test_without_a_storage_nothing_is_completed_or_printed(
    completed: Callable[[str, str], str], tmp_path: Path
) -> None:
    assert completed("bash", "kd-sweeps best ").strip() == ""
    assert completed("bash", "kd-sweeps best --storage nonsense ").strip() == ""
    assert not list(tmp_path.iterdir())


COMMON = [
    "list",
    "status s",
    "status s --audit",
    "workers s",
    "best s",
    "trials s",
    "report s",
    "doctor",
    "data list",
    "create t --preset full --dry-run",
    "create t --preset tiny",
    "pause t",
    "resume t",
    "retry s",
    "logs s --task search#1",
    "archive s -o s.kdsweep",
    "verify s.kdsweep",
    "status no-such-sweep",
    "best",
]


def test_no_line_of_the_common_commands_is_wider_than_80_columns(
    kd_sweeps: KdSweeps, in_memory: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(f"sqlite:///{tmp_path}/kd-sweeps.db")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    wide = {}
    for line in COMMON:
        _, out, err = kd_sweeps(*shlex.split(line))
        assert out or err, line
        wide[line] = [text for text in (out + err).splitlines() if len(text) > 80 and " " in text.strip()]
    assert not {line: texts for line, texts in wide.items() if texts}, "only a lone path may be wider"
