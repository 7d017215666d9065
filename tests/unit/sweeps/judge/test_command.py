"""`kd-sweeps judge`: its output at 80 columns, exit codes, JSON, stdin, studies, and the folder."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from tests.support.judged.tables import SCORES, long
from tests.support.pages import DOCS
from tests.support.paths import REPOSITORY
from tests.support.transcript import run, steps
from tests.support.worded.judgements import NOISE

KdSweeps = Callable[..., tuple[int, str, str]]

HEAVY = {"numpy", "scipy", "optuna", "sqlalchemy", "matplotlib", "pandas", "tensorflow", "jinja2"}

GOLDEN = """\
runs.csv: 15 runs, 3 settings, 5 seeds; accuracy, higher is better.

Keep baseline for now: no other setting is clearly better.
lucky, the best of them, is 0.0008 above baseline (95 % CI -0.0044 to 0.0060,
  p = 0.69 after Holm, 5 pairs).

setting   runs  mean    - baseline                  p, Holm
baseline  5     0.9102                              baseline
lucky     5     0.9110  +0.0008 [-0.0044, +0.0060]  0.69
worse     5     0.8800  -0.0302 [-0.0319, -0.0285]  < 0.0001 worse

- The best of 5 seeds is no improvement: lucky reaches 0.9230 with seed 1,
  0.0128 above the mean of baseline and beats its best run. Of pure noise, the
  best of 5 runs is expected 0.0067 above the mean, the best of all 10 0.0089.
- No significant difference from lucky, which has the best mean: baseline.
- If both settings were as good as baseline, the best of them would still be
  expected 0.0006 better. Were they tuned or chosen on these scores? Then the
  scores flatter them: rerun the chosen one on fresh seeds.

What to do: Keep baseline. If the lead of lucky is as estimated, 300 seeds,
  295 more, show it with 80 % power.
"""


def test_the_output_on_a_terminal_of_80_columns(kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("runs.csv").write_text(long(NOISE), encoding="utf-8")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    assert kd_sweeps("judge", "runs.csv") == (3, GOLDEN, "")


def test_an_improvement_exits_with_0_and_json_has_all_results(kd_sweeps: KdSweeps) -> None:
    Path("runs.csv").write_text(long(), encoding="utf-8")
    code, out, err = kd_sweeps("judge", "runs.csv", "-f", "json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["is_improvement"] is True
    assert answer["headline"] == "Use kd: it is better than none."
    assert answer["advice"] == {"use": "use", "setting": "kd", "rival": "", "seeds": None}
    (kd,) = answer["settings"]
    assert (answer["baseline"]["name"], kd["name"], kd["against"]["paired"]) == ("none", "kd", True)
    assert kd["against"]["difference"]["n"] == 4
    assert (answer["score"], answer["columns"], answer["rows"], answer["level"]) == ("accuracy", ["setting"], 8, 0.03)
    assert "scores" not in answer, "the scores are in the input file"


def test_csv_has_a_row_for_each_setting_and_value_is_the_setting_to_use(kd_sweeps: KdSweeps) -> None:
    Path("runs.csv").write_text(long(), encoding="utf-8")
    head, none, kd = kd_sweeps("judge", "runs.csv", "-f", "csv")[1].splitlines()
    assert head.startswith(
        "setting,runs,mean,difference_mean,difference_low,difference_high,difference_n,p,p_holm,better"
    )
    assert none == "none,4,0.705,,,,,,,,"
    assert kd.startswith("kd,4,0.72525,0.02025,")
    assert kd_sweeps("judge", "runs.csv", "-f", "value")[1] == "kd\n"


def test_one_field_is_printed_for_a_script(kd_sweeps: KdSweeps) -> None:
    Path("runs.csv").write_text(long(NOISE), encoding="utf-8")
    assert kd_sweeps("judge", "runs.csv", "-f", "value", "--field", "advice.use")[:2] == (3, "open\n")
    assert kd_sweeps("judge", "runs.csv", "-f", "value", "--field", "settings.0.name")[:2] == (3, "lucky\n")


@pytest.mark.processes
def test_stdin_is_read_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from sweeps.cli.app import app; from sweeps.cli.streams import exit_code_of\n"
        "sys.argv = ['kd-sweeps', 'judge', '-']; code = exit_code_of(app)\n"
        f"print(code, sorted({HEAVY} & {{*sys.modules}}))"
    )
    process = subprocess.run(
        [sys.executable, "-c", program],
        input=long(),
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.startswith("stdin: 8 runs, 2 settings, 4 seeds")
    assert process.stdout.endswith("\n0 []\n"), process.stderr


@pytest.mark.processes
def test_the_docs_page_shows_the_printed_output(tmp_path: Path) -> None:
    examples = steps((DOCS / "how-to" / "judge.md").read_text(encoding="utf-8"))
    assert len(examples) == 3
    for step in examples:
        assert run(step.command, tmp_path) == (0, [*step.lines])


def test_studies_of_optuna_are_settings(kd_sweeps: KdSweeps) -> None:
    url = "sqlite:///optuna.db"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name, values in SCORES.items():
        study = optuna.create_study(study_name=name, storage=url, direction="maximize")
        for seed, value in enumerate(values):
            trial = study.ask({"seed": optuna.distributions.IntDistribution(seed, seed)})
            study.tell(trial, value)
    code, out, err = kd_sweeps("judge", url, "--study", "none", "--study", "kd")
    assert (code, err) == (0, "")
    assert "Use kd: it is better than none." in out
    code, out, err = kd_sweeps("judge", url)
    assert (code, out) == (1, "")
    assert "has 2 studies; name some with --study, of: none, kd" in err


def test_a_folder_gets_the_page_the_figure_the_markdown_and_the_json(kd_sweeps: KdSweeps) -> None:
    Path("runs.csv").write_text(long(NOISE), encoding="utf-8")
    code, out, err = kd_sweeps("judge", "runs.csv", "-o", "judged")
    assert (
        code,
        "Keep baseline for now: no other setting is clearly better." in out,
        "page     judged/judge.html" in err,
    ) == (
        3,
        True,
        True,
    )
    folder = Path("judged")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} == {
        *("judge.html", "judge.md", "judge.json", "figures/settings.svg", "figures/settings-narrow.svg"),
    }
    page, text = (folder / "judge.html").read_text("utf-8"), (folder / "judge.md").read_text("utf-8")
    assert "<svg" in page
    assert "lucky" in (folder / "figures/settings.svg").read_text("utf-8")
    for part in (
        "The best of 5 seeds is no improvement",
        "# Keep baseline for now: no other setting is clearly better.",
        "| worse | 5 |",
    ):
        assert part in text
    assert json.loads((folder / "judge.json").read_text("utf-8"))["is_improvement"] is False


def test_a_figure_of_the_best_of_many_settings_has_a_note(kd_sweeps: KdSweeps) -> None:
    many = {f"s{number}": [0.5 + number / 1000] for number in range(60)}
    Path("runs.csv").write_text(long({"baseline": [0.5], **many}), encoding="utf-8")
    assert kd_sweeps("judge", "runs.csv", "-o", "judged")[0] == 3
    assert "The best 40 of 60 settings." in Path("judged/judge.md").read_text("utf-8")


def test_control_characters_and_markup_in_a_name_are_escaped(kd_sweeps: KdSweeps) -> None:
    Path("runs.csv").write_text(long({"base": NOISE["baseline"], "<b>\x1b[2J 名": NOISE["lucky"]}), encoding="utf-8")
    assert kd_sweeps("judge", "runs.csv", "-o", "judged")[0] == 3
    for name in ("judge.html", "judge.md"):
        page = Path("judged", name).read_text("utf-8")
        assert "\x1b" not in page
        assert "<b>" not in page
        assert "&lt;b>" in page.replace("&gt;", ">")


def test_control_characters_in_a_column_name_are_escaped(kd_sweeps: KdSweeps) -> None:
    Path("runs.csv").write_text(long(NOISE, score="acc\x1b[2J"), encoding="utf-8")
    assert kd_sweeps("judge", "runs.csv", "-o", "judged")[0] == 3
    for path in Path("judged").rglob("*.*"):
        assert "\x1b" not in path.read_text("utf-8"), path


def test_long_names_leave_the_table_within_the_terminal(kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    Path("runs.csv").write_text(long({f"{40 * name[0]} baseline": NOISE[name] for name in NOISE}), encoding="utf-8")
    _, out, _ = kd_sweeps("judge", "runs.csv", "--baseline", f"{40 * 'b'} baseline", "--margin", "0.1")
    assert max(map(len, out.splitlines())) <= 80
