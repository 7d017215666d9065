"""A training that is a real program: no shell, values in arguments and environment, bounded output."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from kd.errors import Diverged, NotHere, SubprocessKilled
from sweeps.custom.command import MOST_LOGGED
from sweeps.custom.session import CustomTrainer
from sweeps.errors import StepTimeout, TrainingFailed
from sweeps.trainers.protocol import Point, Run, Trained
from tests.processes.custom.test_functions import Kept, Steps
from tests.support.custom.specs import spec, write
from tests.support.paths import MADE
from tests.support.processes import wait_until_gone
from tests.support.sweeps.typed_commands import KdSweeps

POINT = Point.of({"alpha": 0.1, "optimizer": "a b; touch no"})
SEARCH = Run(kind="train", key="search#0", role="source", seed=7, point=POINT)
COMPARED = Run(kind="train", key="transfer#0", role="source", seed=7, point=POINT, arm="best")
SHOW = """#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word"; done > "$KD_SWEEPS_FOLDER/words"
env | grep ^KD_SWEEPS_ | sort > "$KD_SWEEPS_FOLDER/environment"
echo '{"validation": 0.25}'
"""


def trainer(folder: Path, text: str, words: str = "", **table: Any) -> CustomTrainer:
    """Return the trainer of a program with that text."""
    file = write(folder / "program", text)
    space = {"alpha": [0.0, 1.0], "optimizer": ["adam", "sgd"]}
    own = spec({"command": f"{file} {words}", "space": space, "defaults": {}} | table)
    return CustomTrainer(own, Kept(folder / "kept"))  # type: ignore[arg-type]


def trained(folder: Path, text: str, words: str = "", **table: Any) -> Trained:
    return trainer(folder, text, words, **table).train(SEARCH, Steps())


def kept(folder: Path, name: str) -> list[str]:
    return (folder / "kept" / name).read_text(encoding="utf-8").splitlines()


def test_a_value_stays_one_word_and_no_shell_expands_it(tmp_path: Path) -> None:
    result = trained(tmp_path, SHOW, """--alpha={alpha} {optimizer} 'a {seed}' "$HOME" * {role} x{arm}x {test}""")
    assert kept(tmp_path, "words") == ["--alpha=0.1", "a b; touch no", "a 7", "$HOME", "*", "source", "xx", "0"]
    assert result.score == 0.25
    assert not Path("no").exists()


def test_the_environment_holds_every_value_and_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", "postgresql://me:secret@host/db")
    monkeypatch.setenv("KD_SWEEPS_TOKEN", "secret")
    trained(tmp_path, SHOW)
    variables = dict(line.split("=", 1) for line in kept(tmp_path, "environment"))
    assert json.loads(variables.pop("KD_SWEEPS_POINT")) == POINT.as_dict()
    assert variables.pop("KD_SWEEPS_OUT").endswith("result.json")
    assert {name: value for name, value in variables.items() if name not in (MADE, "KD_SWEEPS_CACHE")} == {
        "KD_SWEEPS_SEED": "7",
        "KD_SWEEPS_ROLE": "source",
        "KD_SWEEPS_DATASET": "here",
        "KD_SWEEPS_ARM": "",
        "KD_SWEEPS_TEST": "0",
        "KD_SWEEPS_FOLDER": str(tmp_path / "kept"),
    }


def test_the_result_is_a_file_or_the_last_line_that_is_an_object(tmp_path: Path) -> None:
    lines = (
        'echo \'{"validation": 0.1}\'; echo \'{"validation": 0.2, "size": 7, "f1": 0.3}\'; echo "[1]"; echo done >&2'
    )
    result = trained(tmp_path, f"#!/bin/sh\n{lines}\n")
    assert (result.score, result.size, result.facts) == (0.2, 7, {"facts": {"f1": 0.3}})
    result = trained(tmp_path, f'#!/bin/sh\n{lines}\necho \'{{"validation": 0.4}}\' > "$1"\n', "{out}")
    assert result.score == 0.4


def test_the_test_is_a_second_call_and_no_earlier_test_score_is_accepted(tmp_path: Path) -> None:
    text = """#!/bin/sh
echo "$KD_SWEEPS_TEST" >> "$KD_SWEEPS_FOLDER/calls"
if [ "$1" = 1 ]; then echo '{"test": 0.75}'; else echo '{"validation": 0.5}'; fi
"""
    custom = trainer(tmp_path, text, "{test}")
    custom.train(COMPARED, Steps())
    time.sleep(0.3)
    assert kept(tmp_path, "calls") == ["0"]
    assert custom.test(COMPARED, Steps()) == 0.75
    assert kept(tmp_path, "calls") == ["0", "1"]
    with pytest.raises(TrainingFailed, match=r"^program gave 'test', but test data are for the comparison only"):
        trained(tmp_path, '#!/bin/sh\necho \'{"validation": 0.5, "test": 0.75}\'\n')
    custom = trainer(tmp_path, "#!/bin/sh\necho '{\"validation\": 0.5}'\n", "{test}")
    custom.train(COMPARED, Steps())
    with pytest.raises(TrainingFailed, match=r'^program gave no "test" when called for the test'):
        custom.test(COMPARED, Steps())


def test_a_separate_program_may_score_the_test(tmp_path: Path) -> None:
    test = write(tmp_path / "score", '#!/bin/sh\ncat "$1/model"\n')
    text = '#!/bin/sh\necho \'{"test": 0.5}\' > "$KD_SWEEPS_FOLDER/model"\necho \'{"validation": 0.5}\'\n'
    custom = trainer(tmp_path, text, test=f"{test} {{folder}}")
    custom.train(COMPARED, Steps())
    assert custom.test(COMPARED, Steps()) == 0.5


def test_the_folder_of_code_relocates_the_program_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    custom = trainer(tmp_path, '#!/bin/sh\necho \'{"validation": 0.25}\' > "$1"\n', "{out}")
    (tmp_path / "code").mkdir()
    (tmp_path / "program").rename(tmp_path / "code" / "program")
    (tmp_path / "code" / "result.json").write_text("text that is not a result", encoding="utf-8")
    monkeypatch.setenv("KD_SWEEPS_CODE", str(tmp_path / "code"))
    assert custom.train(SEARCH, Steps()).score == 0.25


BAD = {
    "nothing": ("exit 0", TrainingFailed, "program gave no result; print as last line, or write to {out}"),
    "no object": ("echo 0.93; echo a", TrainingFailed, "its last line: a"),
    "half of it": ("echo '{\"validation\": 0.9'", TrainingFailed, "program gave a result that is not a JSON object: {"),
    "half of it after an epoch": (
        "echo '{\"validation\": 0.8}'; echo '{\"validation\": 0.9'",
        TrainingFailed,
        'not a JSON object: {"validation": 0.9; print as last line',
    ),
    "no object in its file": (
        "echo '{\"validation\": 0.8}'; echo 0.9 > $KD_SWEEPS_OUT",
        TrainingFailed,
        "program gave a result that is not a JSON object: 0.9; print as last line",
    ),
    "NaN of printf": ("echo '{\"validation\": 0.8}'; echo '{\"validation\": -nan}'", Diverged, "gave the score nan"),
    "an exit": (
        "echo first; echo 'no such file' >&2; exit 3",
        TrainingFailed,
        "exit code 3; its last line: no such file",
    ),
    "a signal": ("kill -11 $$", TrainingFailed, "program died of signal 11; its last line: (no output)"),
    "killed": ("kill -9 $$", SubprocessKilled, "program was killed; the system does that when memory runs out"),
    "no text": ("head -c 300 /dev/urandom; exit 1", TrainingFailed, "program ended with exit code 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_result_is_one_line_with_the_end_of_the_log(case: str, tmp_path: Path) -> None:
    body, kind, text = BAD[case]
    with pytest.raises(kind) as error:
        trained(tmp_path, f"#!/bin/sh\n{body}\n")
    assert text in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_program_is_the_machines_fault_and_an_invalid_one_the_programs(tmp_path: Path) -> None:
    custom = trainer(tmp_path, "#!/bin/sh\n")
    (tmp_path / "program").chmod(0o600)
    with pytest.raises(NotHere, match=r"program is not executable here; type: chmod \+x"):
        custom.train(SEARCH, Steps())
    (tmp_path / "program").unlink()
    with pytest.raises(NotHere, match="there is no program"):
        custom.train(SEARCH, Steps())
    write(tmp_path / "program", "no first line\n")
    with pytest.raises(TrainingFailed, match=r"cannot be started: Exec format error; is its first line #!/bin/sh\?"):
        custom.train(SEARCH, Steps())


def test_endless_output_fills_neither_log_nor_memory_and_counts_as_progress(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = Steps()
    custom = trainer(
        tmp_path, "#!/bin/sh\nhead -c 100000000 /dev/zero | tr '\\0' 'a'\necho\necho '{\"validation\": 0.5}'\n"
    )
    assert custom.train(SEARCH, steps).score == 0.5
    logged = capfd.readouterr().out
    assert MOST_LOGGED < len(logged) < 1.2 * MOST_LOGGED
    assert "bytes are left out of this log; their end:]" in logged
    assert logged.rstrip().endswith('{"validation": 0.5}')


def test_a_background_process_neither_delays_the_result_nor_outlives_it(tmp_path: Path) -> None:
    began = time.monotonic()
    result = trained(tmp_path, f"#!/bin/sh\nsleep 600 &\n{PID}\necho '{{\"validation\": 0.5}}'\n")
    assert result.score == 0.5
    assert time.monotonic() - began < 60
    wait_until_gone(int(kept(tmp_path, "pid")[0]))


def test_a_hanging_program_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(StepTimeout):
        trainer(tmp_path, f"#!/bin/sh\ntrap '' TERM INT\nsleep 600 &\n{PID}\nsleep 600\n").train(SEARCH, Steps(3))
    wait_until_gone(int(kept(tmp_path, "pid")[0]))


PID = 'echo $! > "$KD_SWEEPS_FOLDER/pid"'


REFUSED = {
    "no such program": (
        "trian.sh {alpha}",
        "trainer.command: there is no program 'trian.sh' on this machine; give one on PATH, or a file as ./train.sh",
    ),
    "no path": (
        "train.sh {alpha}",
        "trainer.command: 'train.sh' is no program on PATH; a file of this folder is written ./train.sh",
    ),
    "Windows": (
        "./windows.sh {alpha}",
        "trainer.command: ./windows.sh has Windows line ends; type: sed -i 's/\\r$//' ",
    ),
    "no interpreter": ("./lua.sh {alpha}", "trainer.command: ./lua.sh needs /no/such/lua, as its first line says"),
    "no first line": (
        "./bare.sh {alpha}",
        "trainer.command: ./bare.sh cannot be started; is its first line #!/bin/sh?",
    ),
    "no script": ("python3 trian.py {alpha}", "trainer.command: there is no file trian.py, which python3 should run"),
    "a shell's sign": ("./train.sh {alpha} > log", "trainer.command: got '>', but no shell runs the command; put it"),
    "not executable": (
        "./plain.sh {alpha}",
        "trainer.command: ./plain.sh is not executable; type: chmod +x ./plain.sh",
    ),
    "nothing": (" ", "trainer.command: got ' '; give a program and its arguments"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_refuses_a_command_that_cannot_start_in_one_line(case: str, tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    text, message = REFUSED[case]
    write(tmp_path / "train.sh", "#!/bin/sh\n")
    (tmp_path / "plain.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    write(tmp_path / "windows.sh", "#!/bin/sh\r\necho\r\n")
    write(tmp_path / "lua.sh", "#!/no/such/lua\n")
    write(tmp_path / "bare.sh", "echo\n")
    own = ["--space", "alpha=0.0:1.0", "--set", "trainer.untreated.alpha=1.0"]
    code, out, err = kd_sweeps("create", "s", "--train-command", text, *own)
    assert (code, out) == (2, "")
    assert err.startswith(f"kd-sweeps: {message}")
    assert err.count("\n") == 1


def test_create_records_the_paths_and_hashes_of_a_commands_files(tmp_path: Path, kd_sweeps: KdSweeps) -> None:
    write(tmp_path / "train.sh", "#!/bin/sh\n")
    (tmp_path / "settings.yaml").write_text("a: 1\n", encoding="utf-8")
    (tmp_path / "data.npz").write_bytes(b"\0" * 100)
    command = "./train.sh --settings settings.yaml --data data.npz {alpha} --out {out}"
    own = ["--train-command", command, "--space", "alpha=0.0:1.0", "--set", "trainer.untreated.alpha=1.0"]
    code, _, err = kd_sweeps("create", "s", *own)
    assert code == 0, err
    assert f"a worker elsewhere needs {tmp_path}/train.sh at the same path" in err
    assert f"{tmp_path}/settings.yaml" in err
    assert "data.npz at the same path" not in err, "data are not code"
    (tmp_path / "settings.yaml").write_text("a: 2\n", encoding="utf-8")
    code, _, err = kd_sweeps("worker", "s")
    assert code == 1
    assert f"{tmp_path}/settings.yaml here has sha256" in err
