"""A surface: recorded piece by piece, written, read, and interpolated between its cells."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # the benches are no package

from surface import grid

from support import surfaces
from support.recording import Recording, Training
from support.surfaces import SurfaceError, interpolate, read_surface, read_surfaces, write_surface
from sweeps.spec.presets import preset
from tests.support.small_surfaces import surface_of

BENCH = REPOSITORY / "bench"
WHOLE = """# dataset: mnist
# commit: abc
temperature,alpha,seed,epoch_1,epoch_2
1,0,0,0.1000,0.2000
1,0,1,0.3000,0.4000
1,1,0,0.5000,0.6000
1,1,1,0.7000,0.8000
20,0,0,0.1000,0.9000
20,0,1,0.1000,0.7000
20,1,0,0.1000,0.6000
20,1,1,0.1000,0.6000
"""


def training(temperature: float = 1.0, seed: int = 0, *, session: str = "monday", elapsed_s: float = 1.0) -> Training:
    return Training(temperature, 0.5, seed, [0.25, 0.5], 1.0, session, elapsed_s)


def test_a_surface_is_read_with_its_axes_in_order_and_its_origin(tmp_path: Path) -> None:
    path = tmp_path / "surface-mnist.csv"
    path.write_text(WHOLE)
    found = read_surface(path)
    assert found.scores.shape == (2, 2, 2, 2)
    assert found.header == {"dataset": "mnist", "commit": "abc"}
    assert found.last[1].tolist() == [[0.4, 0.8], [0.7, 0.6]]
    assert found.fresh(1).tolist() == found.last[0].tolist()
    assert str(found) == ("mnist; 2 temperatures from 1 to 20 x 2 alphas from 0 to 1, 2 seeds, 2 epochs; abc")


def test_what_is_written_is_read_again_whatever_the_order_of_the_trainings(tmp_path: Path) -> None:
    path, again = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text(WHOLE)
    found = read_surface(path)
    rows = {
        (float(temperature), float(alpha), seed): found.scores[seed, i, j].tolist()
        for j, alpha in reversed(list(enumerate(found.alphas)))
        for i, temperature in enumerate(found.temperatures)
        for seed in range(2)
    }
    write_surface(again, found.header, rows)
    assert again.read_text() == WHOLE
    assert sorted(tmp_path.iterdir()) == [path, again]


@pytest.mark.parametrize(
    ("change", "said"),
    {
        "nothing": (lambda text: "", "no line '# dataset: NAME'"),
        "no dataset": (lambda text: text.replace("# dataset: mnist\n", ""), "no line '# dataset: NAME'"),
        "header only": (lambda text: text[: text.index("temperature")], "no line below its header"),
        "no training": (lambda text: text[: text.index("1,0,0,")], "0 temperatures, a replay needs 2"),
        "columns": (lambda text: text.replace("alpha", "weight"), "'temperature,weight,seed,epoch_1,epoch_2'"),
        "no epochs": (lambda text: text.replace(",epoch_1,epoch_2", ""), "'temperature,alpha,seed', allowed"),
        "torn": (lambda text: text[:-8], "line 11 has 4 values, allowed are 5"),
        "a word": (lambda text: text.replace("0.9000", "good"), "line 8: epoch_2 is 'good', allowed is a"),
        "percent": (lambda text: text.replace("0.9000", "90"), "epoch_2 is '90', allowed is a number from 0 to 1"),
        "nan": (lambda text: text.replace("0.9000", "nan"), "line 8: epoch_2 is 'nan'"),
        "cold": (lambda text: text.replace("20,0,0", "-2,0,0"), "line 8: temperature is '-2', allowed is a number > 0"),
        "half a seed": (lambda text: text.replace("20,0,1", "20,0,0.5"), "line 9: seed is '0.5', allowed is a whole"),
        "twice": (lambda text: text.replace("20,0,1", "20,0,0"), "line 9 repeats temperature=20, alpha=0, seed=0"),
        "a hole": (lambda text: text.replace("20,0,1,0.1000,0.7000\n", ""), "7 trainings, but 2 temperatures x 2"),
        "one seed": (lambda text: "".join(text.splitlines(True)[i] for i in (0, 2, 3, 5, 7, 9)), "it has 1 seeds"),
    }.values(),
)  # fmt: skip
def test_a_damaged_file_is_one_line_that_says_what_to_type(
    tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    path = tmp_path / "surface-mnist.csv"
    path.write_text(change(WHOLE))
    with pytest.raises(SurfaceError) as raised:
        read_surface(path)
    text = str(raised.value)
    assert said in text
    assert text.endswith(f"python bench/surface.py --out {path}")
    assert "\n" not in text


def test_bytes_and_folders_are_no_surface(tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(SurfaceError, match="bytes that are not text"):
        read_surface(tmp_path / "bytes.csv")
    with pytest.raises(SurfaceError, match="Is a directory"):
        read_surface(tmp_path)


@pytest.mark.parametrize("bench", ["pruning", "samplers"])
def test_a_bench_without_its_file_ends_with_1_and_one_line(
    bench: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module: ModuleType = importlib.import_module(bench)
    monkeypatch.setattr(sys, "argv", [f"{bench}.py", str(tmp_path / "none.csv"), "--out", str(tmp_path / "page.md")])
    assert module.main() == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "none.csv: No such file or directory; to record it, type: python bench/surface.py" in said.err
    assert said.out == ""
    assert not list(tmp_path.iterdir())


def test_without_files_all_that_were_recorded_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surfaces, "FOLDER", tmp_path)
    with pytest.raises(SurfaceError, match="no bench/results/surface-\\*\\.csv is recorded"):
        read_surfaces([])
    for name in ("surface-b.csv", "surface-a.csv", "other.csv"):
        (tmp_path / name).write_text(WHOLE)
    assert [found.name for found in read_surfaces([])] == ["surface-a.csv", "surface-b.csv"]


def test_interpolation_is_exact_at_the_cells_and_even_on_the_logarithm_between_them() -> None:
    surface = surface_of(np.random.default_rng(0).random((2, 4, 3, 2)))  # T = 1, 2, 4, 8; alpha = 0, 0.5, 1
    values = surface.last[0]
    for i, temperature in enumerate(surface.temperatures):
        for j, alpha in enumerate(surface.alphas):
            assert interpolate(surface, values, temperature=temperature, alpha=alpha) == values[i, j]
    middle = interpolate(surface, values, temperature=2 * 2**0.5, alpha=0.75)
    assert middle == pytest.approx(values[1:3, 1:3].mean())
    assert interpolate(surface, values, temperature=8, alpha=0.5 * 0.25) == pytest.approx(
        0.75 * values[3, 0] + 0.25 * values[3, 1]
    )


def test_the_grid_covers_the_range_of_the_search_with_whole_grids_first() -> None:
    points = grid(preset("quick"), temperatures=10, alphas=8, seeds=5)
    assert len(set(points)) == 400
    assert (points[0], points[79], points[80]) == ((1, 0, 0), (20, 1, 0), (1, 0, 1))
    logs = np.diff(np.log(sorted({temperature for temperature, _, _ in points})))
    assert logs == pytest.approx(np.log(20) / 9, rel=1e-3)
    assert all(float(f"{number:g}") == number for point in points for number in point)  # as the file has them


def test_a_recording_goes_on_after_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    folder, plan = tmp_path / "surface.part", {"epochs": 2}
    begun = Recording(folder, plan)
    begun.append(training(1.0, elapsed_s=3.0))
    begun.append(training(2.0, elapsed_s=7.0))
    with (folder / "trainings.jsonl").open("a") as file:
        file.write('{"temperature": 3.0, "al')
    resumed = Recording(folder, plan)
    assert list(resumed.trainings) == [(1.0, 0.5, 0), (2.0, 0.5, 0)]
    resumed.append(training(3.0, session="tuesday", elapsed_s=2.0))
    last = Recording(folder, plan)
    assert len(last.trainings) == 3
    assert last.wall_s == 9.0  # 7 on monday and 2 on tuesday
    last.remove()
    assert not folder.exists()


def test_a_recording_is_not_continued_with_other_options(tmp_path: Path) -> None:
    Recording(tmp_path / "part", {"epochs": 8, "seeds": 5})
    with pytest.raises(SurfaceError, match=r"begun with epochs=8, got 3; type the options .* or: rm -r "):
        Recording(tmp_path / "part", {"epochs": 3, "seeds": 5})


@pytest.mark.parametrize("name", ["plan.json", "trainings.jsonl", "teacher.npy"])
def test_a_damaged_recording_says_what_to_remove(tmp_path: Path, name: str) -> None:
    begun = Recording(tmp_path, {"epochs": 8})
    begun.append(training())
    begun.teacher_logits(lambda: (np.zeros((2, 3), np.float32), 0.5))
    (tmp_path / name).write_text("{broken\n")
    with pytest.raises(SurfaceError, match=rf"cannot read .*{name}: .*; to begin again, type: rm -r "):
        Recording(tmp_path, {"epochs": 8}).teacher_logits(lambda: pytest.fail("it is kept"))


def test_the_teacher_is_trained_once(tmp_path: Path) -> None:
    logits = np.arange(6, dtype=np.float32).reshape(2, 3)
    Recording(tmp_path, {}).teacher_logits(lambda: (logits, 0.5))
    kept, accuracy = Recording(tmp_path, {}).teacher_logits(lambda: pytest.fail("trained again"))
    assert kept.tolist() == logits.tolist()
    assert accuracy == 0.5


def test_the_recorder_imports_no_tensorflow_before_its_processes_set_their_threads() -> None:
    code = "import sys, surface; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=BENCH, check=True, timeout=60)


@pytest.mark.slow
def test_an_interrupted_recording_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    def command(out: Path) -> list[str]:
        options = ["--preset", "tiny", "--temperatures", "2", "--alphas", "2", "--seeds", "3", "--epochs", "12"]
        return [sys.executable, str(BENCH / "surface.py"), *options, "--processes", "2", "--out", str(out)]

    out, alone = tmp_path / "interrupted.csv", tmp_path / "alone.csv"
    process = subprocess.Popen(command(out), stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    with contextlib.closing(process.stderr) as said:
        for line in said:
            if line.startswith("2 of 12"):
                os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does: the trainings get it too
    assert process.wait() == 130
    assert not out.exists()
    subprocess.run(command(out), check=True, capture_output=True)
    subprocess.run(command(alone), check=True, capture_output=True)
    assert read_surface(out).scores.tolist() == read_surface(alone).scores.tolist()
    assert sorted(tmp_path.iterdir()) == [alone, out]
