"""Data, losses and models of users: how `create` describes, freezes and refuses them before it writes anything."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy

from kd.data import custom, datasets
from kd.errors import DataError
from storage.records import queries
from storage.url import resolve
from sweeps.distill import freeze
from sweeps.distill.freeze import check_users_models, frozen_loss
from sweeps.distill.presets import PRESETS, on, preset
from sweeps.distill.session import KdTrainer
from sweeps.distill.space import search_space
from sweeps.errors import SpecError, SweepError
from sweeps.query.listing import open_sweep
from sweeps.spec.model import Spec, override
from sweeps.spec.stored import stored_spec
from sweeps.usecases import create
from sweeps.usecases.create import create_sweep
from sweeps.workers.runner import TaskRunner
from tests.support.paths import REPOSITORY
from tests.support.pictures import write_folder
from tests.support.sweeps.typed_commands import files, write_npz

KdSweeps = Callable[..., tuple[int, str, str]]

LOADER = """
import numpy as np

def load():
    print("loading")
    x, y = np.zeros((120, 8, 8), np.uint8), np.arange(120) % 3
    x[:, 0, 0] = y
    return (x, y), (x[:12], y[:12])
"""


@pytest.fixture(autouse=True)
def own_cache(in_memory: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path_factory.mktemp("cache")))


def _spec(url: sqlalchemy.URL, name: str) -> Spec:
    with open_sweep(url.render_as_string(hide_password=False), name) as (_, sweep):
        return stored_spec(sweep)


def test_a_folder_is_described_in_a_line_and_all_of_its_images_are_used(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_folder(tmp_path / "flowers", sizes=((12, 12), (9, 20)))
    (tmp_path / "flowers" / "rose").rename(tmp_path / "flowers" / "ro\nse")
    options = ["--preset", "tiny", "--source", "flowers", "--set", "source.size=[16, 12]", "--dry-run"]
    code, out, err = kd_sweeps("create", "s", *options)
    assert code == 0, err
    description = (
        "source flowers: 54 training, 6 validation, 12 test images of 16 x 12 x 3, 3 classes: daisy, ro se, tulip"
    )
    assert description in " ".join(out.split())
    assert "data     flowers (54 images) -> digits-rgb (1,078 images)" in out.splitlines()
    assert {name.partition("/")[0] for name in files(tmp_path)} == {"flowers"}


def test_create_stores_the_path_name_size_image_count_and_hash_of_a_folder(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_folder(tmp_path / "flowers", sizes=((12, 12), (9, 20)))
    changes = ["--set", "source.size=[16, 12]", "--set", "source.name=Three flowers"]
    code, out, err = kd_sweeps("create", "s", "--preset", "tiny", "--source", "flowers/", *changes)
    assert code == 0, err
    assert "source   Three flowers: 54 training" in out
    assert f"a worker elsewhere needs {tmp_path}/flowers at the same path" in err
    part = _spec(resolve(None), "s").source
    assert (part.dataset, part.name, part.size, part.images) == (
        f"{tmp_path}/flowers",
        "Three flowers",
        (16, 12),
        54,
    )
    assert part.content_hash == datasets.content_hash(f"{tmp_path}/flowers", size=(16, 12))
    assert kd_sweeps("list")[1].split("\n")[1].split()[:3] == ["s", "Three", "flowers"]
    assert kd_sweeps("create", "s", "--preset", "tiny", "--source", "flowers/", *changes)[2].startswith(
        "s exists already"
    )


def test_a_function_is_called_in_a_child_process_and_its_output_is_hidden(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    (tmp_path / "my_data.py").write_text(LOADER)
    code, out, err = kd_sweeps("create", "s", "--preset", "tiny", "--target", "./my_data.py:load")
    assert code == 0, err
    assert "target   my_data.py:load: 108 training, 12 validation, 12 test images of 8 x 8" in out
    assert "loading" not in out + err
    spec = _spec(resolve(None), "s")
    assert spec.target.dataset == f"{tmp_path}/my_data.py:load"
    assert list(spec.code) == [f"{tmp_path}/my_data.py"]
    assert f"needs {tmp_path}/my_data.py at the same path, or in the folder that KD_SWEEPS_CODE names" in err


def test_a_function_that_runs_out_of_memory_gives_a_one_line_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_memory(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 11.2 TiB for an array")

    (tmp_path / "my_data.py").write_text(LOADER)
    monkeypatch.setattr(freeze, "run_in_subprocess", without_memory)
    part = on(preset("tiny"), source=f"{tmp_path}/my_data.py:load").source
    with pytest.raises(
        DataError, match=r"my_data.py:load' needs more memory than this machine has \(.* GB\); give"
    ) as error:
        freeze.contents(part, None)
    assert "\n" not in str(error.value)


def test_a_worker_with_an_edited_file_stops_before_it_claims(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    (tmp_path / "my_data.py").write_text(LOADER)
    assert kd_sweeps("create", "s", "--preset", "tiny", "--target", "./my_data.py:load")[0] == 0
    (tmp_path / "my_data.py").write_text(LOADER.replace("% 3", "% 4"))
    code, _, err = kd_sweeps("worker", "s")
    assert code == 1
    assert f"kd-sweeps: {tmp_path}/my_data.py here has sha256" in err.splitlines()[-1]
    with open_sweep(None, "s") as (engine, sweep):
        records = queries.task_records(engine, sweep.id)
    assert {(task.state, task.attempt) for task in records} == {("waiting", 0)}


def test_floats_and_a_missing_test_part_are_noted(kd_sweeps: KdSweeps, tmp_path: Path) -> None:
    write_npz(tmp_path / "mine.npz", x_train=np.zeros((200, 28, 28), np.float32), x_test=None, y_test=None)
    code, out, err = kd_sweeps("create", "s", "--preset", "tiny", "--source", "mine.npz", "--dry-run")
    assert code == 0, err
    text = " ".join(out.split())
    assert "source x_train: float32 in [0, 1], taken as round(255 x)" in text
    assert "source no test set found: 33 of 200 images are held out as one (the same ones every time)" in text


def test_create_reads_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = str(write_npz(tmp_path / "mine.npz"))
    reads: list[Path] = []
    raw_npz = custom.raw_npz

    def counted(path: Path, *more: object) -> object:
        reads.append(path)
        return raw_npz(path, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(custom, "raw_npz", counted)
    create_sweep(resolve(f"sqlite:///{tmp_path}/a.db"), "s", on(preset("tiny"), source=name))
    assert reads == [Path(name)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "none/"], "none does not exist; give a folder with one subfolder of images for each class"),
        (["--source", "flowers", "--set", "source.size=[16]"], "source.size: got [16]; allowed: [height, width]"),
        (
            ["--source", "flowers", "--set", "source.size=[16, 16]", "--set", "source.images=55"],
            "source.images: got 55; flowers has 54 training images",
        ),
        (["--source", "mine.npz", "--set", "source.size=[8, 8]"], "mine.npz: only a folder of images takes a size"),
        (["--set", "source.size=[8, 8]"], "source.size: got [8, 8]; digits has its own size"),
        (["--set", "source.name=X"], "source.name: got 'X'; digits has its own name"),
        (
            ["--source", "mine.npz", "--set", "source.name=mnist"],
            "source.name: got 'mnist', the name of a built-in dataset",
        ),
        (
            ["--source", "mine.npz", "--target", "a/mine.npz"],
            "source.dataset and target.dataset are both called mine.npz; give one another name",
        ),
        (
            ["--source", "mine.npz", "--target", "a/mine.npz", "--set", "target.name=another"],
            "source.dataset and target.dataset hold the same images and labels; give two datasets, or search on this",
        ),
        (
            ["--source", "mine.npz", "--set", "source.name=x", "--target", "a/mine.npz", "--set", "target.name=x"],
            "source.dataset and target.dataset are both called x",
        ),
        (["--source", "./dies.py:load"], "cannot be read: the child process died of signal 6"),
    ],
)
def test_unusable_data_give_a_one_line_error_and_write_nothing(
    kd_sweeps: KdSweeps, tmp_path: Path, options: list[str], message: str
) -> None:
    write_folder(tmp_path / "flowers", sizes=((12, 12), (9, 20)))
    (tmp_path / "a").mkdir()
    write_npz(tmp_path / "mine.npz")
    write_npz(tmp_path / "a" / "mine.npz")
    (tmp_path / "dies.py").write_text("import os\n\ndef load():\n    os.abort()\n")
    before = files(tmp_path)
    code, out, err = kd_sweeps("create", "s", "--preset", "tiny", *options)
    assert (code in (1, 2), out) == (True, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert {name for name in files(tmp_path) if "__pycache__" not in name} == before


def _created(tmp_path: Path, spec: Spec) -> Spec:
    return create_sweep(resolve(f"sqlite:///{tmp_path}/a.db"), "s", spec).spec


def _trainer(spec: Spec) -> KdTrainer:
    """Return the trainer of a worker that never needs its storage."""
    trainer: KdTrainer = TaskRunner(SimpleNamespace(spec=spec, url=None)).trainer
    return trainer


def test_a_worker_with_another_folder_stops_before_it_claims(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers")
    spec = _created(tmp_path, on(preset("tiny"), source=str(folder)))
    _trainer(spec).check()
    (folder / "rose" / "000.png").unlink()
    with pytest.raises(SweepError, match=r"flowers here has content .* pass the folder that holds it as --data DIR"):
        _trainer(override(spec, {"source.images": 32})).check()


def test_outcomes_and_points_have_the_given_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers")
    named = on(preset("tiny"), source=str(folder))
    spec = _created(tmp_path, override(named, {"source.name": "Flowers"}))
    assert _trainer(spec).dataset("source").name == "Flowers"
    spec_by_name = spec.as_called()
    assert (spec_by_name.source.dataset, spec_by_name.target.dataset) == ("Flowers", "digits-rgb")
    assert (spec_by_name.fingerprint, spec_by_name.as_dict()) == (spec.fingerprint, spec.as_dict())


def test_presets_and_known_datasets_keep_their_plain_values() -> None:
    for spec in (preset("tiny"), on(preset("quick"), source="fashion_mnist")):
        values = spec.as_dict()
        assert "code" not in values
        assert {"name", "size"}.isdisjoint(values["source"])
        assert spec.as_called() is spec


@pytest.mark.slow
@pytest.mark.processes
def test_a_whole_sweep_runs_on_a_folder_of_images(tmp_path: Path, shared_data: Path) -> None:
    write_folder(tmp_path / "flowers", each=40, sizes=((12, 12), (20, 16)))
    (tmp_path / "my_data.py").write_text(LOADER)
    changes = {
        "source.size": "[12, 12]",
        "source.name": "Flowers",
        "source.student": "./my_models.py:build",
        "search.trials": 2,
        "confirm.rounds": "[[1, 1]]",
        "transfer.seeds": 2,
        "baselines.methods": "[]",
        "source.epochs": 6,
        "target.epochs": 1,
    }
    (tmp_path / "my_models.py").write_text(
        "import keras\n\n\ndef build(input_shape, classes):\n"
        "    layers = [keras.Input(input_shape), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]\n"
        "    return keras.Sequential([*layers, keras.layers.Dense(classes)])\n"
    )
    command = [sys.executable, "-P", "-m", "sweeps.cli", "run", "s", "--preset", "tiny", "--source", "flowers"]
    command += ["--target", "./my_data.py:load", "--workers", "1"]
    command += [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KERAS_HOME": str(shared_data / "keras")}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "source   Flowers: 90 training, 10 validation, 20 test images of 12 x 12 x 3, 3 classes" in ended.stderr
    page = (tmp_path / "s-report" / "report.md").read_text()
    assert "Flowers" in page
    assert f"folder: {tmp_path}/flowers" in page
    assert re.search(rf"code {tmp_path}/my_(data|models)\.py, SHA-256 [0-9a-f]{{12}}", page)


ALONE = override(on(preset("tiny"), source="digits", alone=True), {"baselines.methods": []})


def with_loss(loss: str, **changes: object) -> Spec:
    return override(ALONE, {"training.distillation": loss, **changes})


def test_the_loss_kd_leaves_a_spec_unchanged() -> None:
    spec = create.freeze(ALONE)
    assert "distillation" not in spec.as_dict()["training"]
    assert create.freeze(with_loss("kd")).fingerprint == spec.fingerprint


def test_a_loss_without_t_is_searched_over_alpha_alone() -> None:
    spec = create.freeze(with_loss("mse"))
    assert spec.search.temperature == (1.0, 1.0)
    assert search_space(spec)["temperature"].at(0.7) == 1.0


def test_a_range_of_t_is_refused_for_a_loss_without_t() -> None:
    temperature = [2, 8]
    with pytest.raises(
        SpecError, match=r"^search.temperature: got \[.*\], but loss mse does not use T; remove the"
    ) as error:
        create.freeze(with_loss("mse", **{"search.temperature": temperature}))
    assert "\n" not in str(error.value)
    assert create.freeze(with_loss("dkd", **{"search.temperature": temperature})).search.temperature == (*temperature,)


def test_every_preset_works_with_a_loss_without_t() -> None:
    for spec in PRESETS.values():
        alone = override(on(spec, source="digits", alone=True), {"training.distillation": "mse"})
        assert frozen_loss(alone, 10) == {"search.temperature": (1.0, 1.0)}
        assert frozen_loss(override(alone, frozen_loss(alone, 10)), 10) == {"search.temperature": (1.0, 1.0)}


def test_the_paper_s_point_is_an_arm_of_every_loss_but_kd() -> None:
    assert "default-paper" in with_loss("dkd").arms("source")
    assert "default-paper" not in ALONE.arms("source")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.distillation": "dkdd"}, 'training.distillation: got "dkdd"; allowed: did you mean dkd? kd, mse,'),
        ({"search.space": {"gamma": [1, 2]}}, "search.space: loss 'kd' has no parameter 'gamma'; it has only T and al"),
        ({"training.loss_parameters": {"gamma": 1}}, "training.loss_parameters: loss 'kd' has no parameter 'gamma'"),
        ({"training.distillation": "dkd", "search.space": {"gamma": [1, 2]}}, "it has target_weight, nontarget_"),
    ],
)
def test_unknown_losses_and_parameters_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as error:
        override(ALONE, changes)
    assert message in str(error.value)


def test_a_searched_parameter_named_like_a_column_of_the_records_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"search\.space: got 'task', which is a column in the records .* such as task_weight"
    ) as error:
        create.freeze(with_loss("./my_losses.py:loss", **{"search.space": {"task": [1, 2]}}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nothing.py:loss", "training.distillation: got './nothing.py:loss'; there is no file "),
        ("no_such_module:loss", "no module 'no_such_module' on this machine's Python path$"),
        ("my_losses.py:absolute", "a file of this folder is named ./my_losses.py:...$"),
        ("my_losses:absolute", "no module 'my_losses' on .* path; a file of this folder is named ./my_losses.py:...$"),
    ],
)
def test_a_missing_file_or_module_gives_an_error(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_losses.py").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=message):
        create.freeze(with_loss(name))


OWN = """
import os
import keras

def build(input_shape, classes):
    print("built for", input_shape, classes)
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)])

def aborts(input_shape, classes):
    os.abort()
"""


@pytest.mark.processes
def test_a_model_whose_child_process_died_gives_a_one_line_error_and_leaves_nothing(
    kd_sweeps: KdSweeps, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    models = ["--teacher", "./own.py:build", "--set", "target.student=./own.py:aborts"]
    code, out, err = kd_sweeps("create", "s", "--preset", "tiny", *models)
    died = f"model '{tmp_path}/own.py:aborts' cannot be built: the child process died of signal 6"
    assert (code, out, err.splitlines()) == (2, "", [f"kd-sweeps: target.student: {died}"])
    assert {file for file in files(tmp_path) if "__pycache__" not in file} == {"own.py"}


def test_an_existing_sweep_is_not_checked_again(
    tmp_path: Path, in_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = resolve(f"sqlite:///{tmp_path}/kd-sweeps.db")
    (tmp_path / "own.py").touch()
    spec = override(preset("tiny"), {"target.student": f"{tmp_path}/own.py:frozen"})
    with monkeypatch.context() as earlier:  # like an earlier version, which accepted such a model
        earlier.setattr("sweeps.distill.freeze.check_users_models", lambda *_, **__: None)
        assert create_sweep(url, "s", spec).new
    monkeypatch.setattr("sweeps.distill.freeze.run_in_subprocess", None)  # calling it would fail
    assert not create_sweep(url, "s", spec).new
    with pytest.raises(TypeError):
        create_sweep(url, "another", spec)


def test_a_spec_without_user_models_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.distill.freeze.run_in_subprocess", None)  # calling it would fail
    changes = {"source.teacher": "baseline:autokeras", "target.teacher": "nowhere.at.all:build"}
    check_users_models(override(preset("tiny"), changes))
