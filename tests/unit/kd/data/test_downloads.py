"""The files that Keras downloads: their digests and their formats."""

import dataclasses
import gzip
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd.data import downloads
from kd.data.arrays import read_cifar10_tar, read_cifar100_tar
from kd.data.known import KNOWN_DATASETS
from kd.errors import DataError
from tests.support.local_site import add, serving


def test_the_digests_of_public_files_are_those_of_keras() -> None:
    keras = Path(sys.prefix).glob("lib/python*/site-packages/keras/src/datasets")
    folder = next(keras, None)
    if folder is None:
        pytest.skip("no Keras in this Python's environment to compare with")
    for name, public in downloads.DOWNLOADS.items():
        source = (folder / f"{name}.py").read_text()
        assert public.sha256 in source
        assert len(public.sha256) == (0 if name == "fashion_mnist" else 64)  # Keras has no digest for it
        assert all(part in source for part in public.parts)


def python2_batch(images: np.ndarray[Any, np.dtype[np.uint8]], labels: list[int]) -> bytes:
    """Return a CIFAR-10 batch as cPickle of Python 2 wrote it (protocol 2), opcode by opcode."""
    rows, columns = images.shape
    data = images.tobytes()
    return b"".join(
        [
            b"\x80\x02}q\x01(U\x06labelsq\x04]q\x05(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e",
            b"U\x04dataq\x06cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01bq\n\x87q\x0bRq\x0c(",
            b"K\x01J" + rows.to_bytes(4, "little") + b"J" + columns.to_bytes(4, "little") + b"\x86q\r",
            b"cnumpy\ndtype\nq\x0eU\x02u1q\x0fK\x00K\x01\x87q\x10Rq\x11(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b",
            b"\x89T" + len(data).to_bytes(4, "little") + data + b"tbu.",
        ]
    )


def test_the_archive_of_cifar10_is_read_as_python_2_wrote_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    labels = [number % 10 for number in range(60)]
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        for index, name in enumerate(names):
            part = slice(10 * index, 10 * index + 10)
            planes = images[part].transpose(0, 3, 1, 2).reshape(10, -1)
            add(archive, f"cifar-10-batches-py/{name}", python2_batch(planes, labels[part]))
    arrays = read_cifar10_tar(tmp_path / "archive")
    assert np.array_equal(arrays.x_train, images[:50])
    assert np.array_equal(arrays.x_test, images[50:])
    assert arrays.y_train.tolist() == labels[:50]


def test_the_archive_of_cifar100_is_read_with_its_fine_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        for name, part in (("train", slice(0, 4)), ("test", slice(4, 6))):
            planes = images[part].transpose(0, 3, 1, 2).reshape(-1, 3072)
            fine = python2_batch(planes, [0, 1, 2, 1][: len(planes)]).replace(b"U\x06labels", b"U\x0bfine_labels")
            add(archive, f"cifar-100-python/{name}", fine)
    arrays = read_cifar100_tar(tmp_path / "archive")
    assert np.array_equal(arrays.x_train, images[:4])
    assert np.array_equal(arrays.x_test, images[4:])
    assert (arrays.y_train.tolist(), arrays.y_test.tolist()) == ([0, 1, 2, 1], [0, 1])
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        add(archive, "cifar-100-python/meta", b"hello")
    with pytest.raises(DataError, match=r"the CIFAR-100 archive cannot be read: .*train"):
        read_cifar100_tar(tmp_path / "archive")


def idx_gz(array: "np.ndarray[Any, np.dtype[np.uint8]]") -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(b"\0\0\x08" + bytes([array.ndim]) + sizes + array.tobytes())


def test_the_four_files_of_fashion_mnist_are_one_download_with_one_progress(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    labels = np.array([0, 1, 2, 1, 0, 1], np.uint8)
    contents = [idx_gz(array) for array in (images[:4], labels[:4], images[4:], labels[4:])]
    public, progress = downloads.DOWNLOADS["fashion_mnist"], []
    with serving() as site:
        site.files |= {f"/{part}": content for part, content in zip(public.parts, contents, strict=True)}
        download = dataclasses.replace(public, url=f"{site.url}/", size=sum(map(len, contents)))
        (tmp_path / "first").mkdir()
        arrays = downloads.download_arrays(download, tmp_path / "first", lambda *bytes_: progress.append(bytes_))
        assert np.array_equal(arrays.x_train[..., 0], images[:4])
        assert arrays.y_test.tolist() == [0, 1]
        assert progress[-1] == (download.size, download.size)
        site.files[f"/{public.parts[1]}"] = b"<html>Please log in to this network</html>"
        (tmp_path / "second").mkdir()
        with pytest.raises(DataError, match="not the gzipped idx files of Fashion-MNIST: "):
            downloads.download_arrays(download, tmp_path / "second")
        site.files[f"/{public.parts[1]}"] = gzip.compress(bytes(10_000_000))
        download = dataclasses.replace(download, size=20_000)
        (tmp_path / "third").mkdir()
        with pytest.raises(DataError, match="unpacks to more than 60016 bytes"):
            downloads.download_arrays(download, tmp_path / "third")


def test_an_archive_of_the_user_is_verified_before_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"a pickle that deletes everything")
    with pytest.raises(DataError, match=r"x\.tar\.gz is not the file at https.*cifar-100-python\.tar\.gz \(sha256"):
        downloads.read_archive(downloads.DOWNLOADS["cifar100"], tmp_path / "x.tar.gz")
    with pytest.raises(DataError, match=r"none cannot be read: No such file"):
        downloads.read_archive(downloads.DOWNLOADS["cifar100"], tmp_path / "none")


def test_an_archive_of_cifar10_without_its_batches_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive", "w:gz") as archive:
        add(archive, "cifar-10-batches-py/readme.html", b"hello")
    with pytest.raises(DataError, match=r"archive cannot be read: .*data_batch_1"):
        read_cifar10_tar(tmp_path / "archive")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "cifar10", "fashion_mnist", "cifar100"])
def test_the_real_public_file_holds_the_official_arrays(name: str, tmp_path: Path) -> None:
    try:
        arrays = downloads.download_arrays(downloads.DOWNLOADS[name], tmp_path)
    except DataError as error:
        if "another file" in str(error):
            raise
        pytest.skip(f"no internet here: {error}")
    assert KNOWN_DATASETS[name].difference(arrays) is None
