"""Folders of images: the datasets that they become, and the errors for bad ones."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kd.data import images
from kd.data.cache import cache_dir
from kd.data.datasets import contents, load, load_test
from kd.errors import DataError
from tests.support.pictures import CLASSES, pixels, write_folder


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KD_SWEEPS_DATA", raising=False)


def test_every_image_is_in_one_part_with_its_class_and_a_sixth_is_held_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers")
    summary = contents(str(folder))
    assert (summary.training_images, summary.validation_images, summary.test_images) == (54, 6, 12)
    assert (summary.input_shape, summary.classes, summary.class_names) == ((12, 12, 3), 3, CLASSES)
    dataset, test = load(str(folder)), load_test(str(folder))
    assert dataset.origin == f"folder: {folder}"
    assert np.bincount(test.labels).tolist() == [4, 4, 4]
    labels = {}
    for split in (dataset.train, dataset.validation, test):
        labels |= {image.tobytes(): label for image, label in zip(split.images, split.labels, strict=True)}
    assert labels == {pixels(label, number, (12, 12)).tobytes(): label for label in range(3) for number in range(24)}


def test_file_names_and_their_order_do_not_matter_but_class_names_do(tmp_path: Path) -> None:
    first = write_folder(tmp_path / "flowers")
    other = tmp_path / "elsewhere" / "flowers"
    for name in reversed(CLASSES):
        (other / name).mkdir(parents=True)
        for number, path in enumerate(sorted((first / name).iterdir(), reverse=True)):
            shutil.copy(path, other / name / f"image-{number}.PNG")
    original, copy = load(str(first)), load(str(other))
    assert original.split_hash == copy.split_hash
    assert np.array_equal(load_test(str(first)).images, load_test(str(other)).images)
    (other / "tulip").rename(other / "violet")
    assert contents(str(other)).content_hash != original.content_hash


def test_train_and_test_subfolders_are_the_parts(tmp_path: Path) -> None:
    write_folder(tmp_path / "f" / "train", each=20)
    write_folder(tmp_path / "f" / "test", each=2, classes=("daisy", "tulip"))
    summary = contents(str(tmp_path / "f"))
    assert (summary.training_images + summary.validation_images, summary.test_images, summary.notes) == (60, 4, ())
    test = load_test(str(tmp_path / "f"))
    assert np.bincount(test.labels).tolist() == [2, 0, 2]  # a class without test images keeps its number


@pytest.mark.parametrize("suffix", ["JPEG", "bmp", "gif"])
def test_each_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    folder = write_folder(tmp_path / "f", suffix=suffix)
    assert contents(str(folder)).input_shape == (12, 12, 3)


def test_grey_images_have_one_channel_unless_one_is_coloured(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", grey=True)
    assert contents(str(folder)).input_shape == (12, 12, 1)
    images = load_test(str(folder)).images
    assert {image.tobytes() for image in images} <= {
        pixels(label, number, (12, 12), grey=True).tobytes() for label in range(3) for number in range(24)
    }
    Image.fromarray(pixels(0, 0, (12, 12))).save(folder / "rose" / "coloured.png")
    assert contents(str(folder)).input_shape == (12, 12, 3)


def test_a_grey_image_stored_as_rgb_is_grey(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f", grey=True)
    Image.fromarray(np.repeat(pixels(0, 99, (12, 12), grey=True)[..., None], 3, axis=2)).save(folder / "rose" / "x.bmp")
    assert contents(str(folder)).input_shape == (12, 12, 1)


def test_images_of_several_sizes_need_a_size_and_are_resized_with_antialiasing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "flowers", sizes=((12, 12), (20, 16)))
    with pytest.raises(DataError) as caught:
        contents(str(folder))
    assert str(caught.value) == (
        f"{folder} has images of 2 sizes: daisy/000.png is 12 x 12, daisy/001.png is 20 x 16 (height x width); give one"
        " size for all, such as size = [12, 12]"
    )
    assert contents(str(folder), size=(8, 10)).input_shape == (8, 10, 3)
    # Halved, a grid of black and white pixels turns grey with antialiasing, and black or white without.
    grid = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(grid).save(tmp_path / "grid.png")
    small = images.decoded([tmp_path / "grid.png"], "grid", (16, 16))
    assert small.shape == (1, 16, 16, 1)
    assert small.min() > 100
    assert small.max() < 156


def test_a_photograph_is_turned_upright_and_the_first_frame_of_a_gif_is_used(tmp_path: Path) -> None:
    image = Image.fromarray(np.concatenate([np.full((10, 10), 250), np.zeros((10, 10))], axis=1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees, clockwise
    image.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    upright = images.decoded([tmp_path / "turned.jpg"], "f")
    assert upright.shape == (1, 20, 10, 1)
    assert (upright[0, :8].min() > 200, upright[0, 12:].max() < 50) == (True, True)
    frames = [Image.new("L", (9, 9), level) for level in (40, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert (images.decoded([tmp_path / "moving.gif"], "f") == 40).all()


def test_a_folder_is_decoded_again_only_after_a_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "f")
    first = load(str(folder)).content_hash
    files = sorted(cache_dir().glob("folder-*.npz"))
    assert len(files) == 1
    with monkeypatch.context() as without:
        without.setattr(images, "decoded", None)  # calling it would fail
        assert load(str(folder)).content_hash == first
        assert contents(str(folder)).content_hash == first
    Image.fromarray(pixels(1, 99, (12, 12))).save(folder / "rose" / "000.png")
    assert load(str(folder)).content_hash != first
    assert len(list(cache_dir().glob("folder-*.npz"))) == 1  # the old copy is deleted


@pytest.mark.parametrize("damage", ["cut short", "other content"])
def test_a_damaged_copy_in_the_cache_is_replaced(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_folder(tmp_path / "f")
    first = load(str(folder)).content_hash
    (file,) = cache_dir().glob("folder-*.npz")
    if damage == "cut short":
        file.write_bytes(file.read_bytes()[:500])
    else:
        with np.load(file) as stored:
            arrays = dict(stored)
        arrays["x_train"][0, 0, 0] ^= 1
        np.savez(file, **arrays)
    assert load(str(folder)).content_hash == first
    assert "damaged; decoding the folder again" in caplog.text


def test_without_a_writable_cache_a_folder_is_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KD_SWEEPS_CACHE", str(tmp_path / "file"))
    assert load(str(write_folder(tmp_path / "f"))).classes == 3
    assert "the cache cannot be used" in caplog.text


def test_a_folder_is_found_by_its_name_in_the_data_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "data" / "flowers")
    dataset = load(str(tmp_path / "not here" / "flowers"), data_dir=tmp_path / "data")
    assert dataset.origin == f"folder: {tmp_path / 'data' / 'flowers'}"


def test_hidden_files_and_other_files_are_ignored(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f")
    (folder / "LICENSE.txt").write_text("free")
    (folder / "rose" / "notes.txt").write_text("red")
    (folder / "rose" / "._000.png").write_bytes(b"of another system")
    (folder / ".thumbnails").mkdir()
    (folder / "__MACOSX").mkdir()
    assert contents(str(folder)).classes == 3


def _only(folder: Path, *names: str) -> Path:
    """Delete the subfolders of all other classes."""
    for name in set(CLASSES) - set(names):
        shutil.rmtree(folder / name)
    return folder


def _no_subfolders(folder: Path) -> None:
    for path in (folder / "rose").iterdir():
        path.rename(folder / path.name)
    _only(folder)


def _validation_part(folder: Path) -> None:
    for name, part in zip(CLASSES, ("train", "test", "val"), strict=True):
        (folder / name).rename(folder / part)


def _unseen_class(folder: Path) -> None:
    write_folder(_only(folder) / "train", each=4, classes=("daisy", "rose"))
    write_folder(folder / "test", each=1, classes=("daisy", "tulip"))


DEEP = Image.fromarray(np.full((12, 12), 3000, np.uint16))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: (f / "rose/003.png").write_bytes((f / "rose/003.png").read_bytes()[:200]),
            r"rose/003\.png is a broken image: .*; replace or remove it$",
        ),
        (
            lambda f: (f / "rose/003.png").write_text("<html>not found</html>"),
            r"rose/003\.png is not an image that can be read; replace or remove it$",
        ),
        (
            lambda f: DEEP.save(f / "rose/003.png"),
            r"rose/003\.png has more than 8 bits per channel \(mode I;16\); save it with 8$",
        ),
        (
            lambda f: (f / "rose/x.webp").touch(),
            r"rose/x\.webp has an unsupported format; allowed: \.png, \.jpg, \.jpeg, \.bmp, \.gif$",
        ),
        (lambda f: _only(f, "daisy"), r"f has one class only, 'daisy'; at least 2 are needed$"),
        (
            lambda f: (_only(f, "daisy", "tulip") / "rose").mkdir(),
            r"f/rose holds no images, and each subfolder is a class; allowed: \.png",
        ),
        (
            lambda f: (_only(f, "daisy", "tulip") / "rose" / "red").mkdir(parents=True),
            r"f/rose holds no images, and each subfolder is a class; it has the subfolders red, \.\.\.$",
        ),
        (_no_subfolders, r"f holds 24 images and no subfolders; give a folder with one subfolder of images for each"),
        (_only, r"f holds no images; give a folder with one subfolder of images for each class$"),
        (_validation_part, r"f has train, test and val; allowed: train and test"),
        (_unseen_class, r"f/test has the class 'tulip', which .*f/train lacks$"),
        (
            lambda f: write_folder(_only(f), sizes=((7, 8),)),
            r"x_train has shape \(72, 7, 8, 3\); images must be 8x8 or larger$",
        ),
    ],
)
def test_a_bad_folder_gives_a_one_line_error_that_names_the_fault(
    tmp_path: Path, spoil: Callable[[Path], object], message: str
) -> None:
    folder = write_folder(tmp_path / "f")
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        contents(str(folder))
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_missing_folder_and_a_file_each_give_a_one_line_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none does not exist; give a folder with one subfolder"):
        contents(str(tmp_path / "none"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file, not a folder"):
        contents(str(tmp_path / "file"))


def test_images_too_large_for_memory_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "f")
    monkeypatch.setattr(images, "memory_bytes", lambda: 10_000)
    with pytest.raises(DataError, match=r"holds 72 images, 31\.1 KB at 12 x 12, and this machine has 10 KB of memory"):
        contents(str(folder))


def test_a_decompression_bomb_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "f")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"\d+\.png is too large for an image of a dataset: "):
        contents(str(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every folder")
def test_a_folder_without_permission_gives_a_one_line_error(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "f")
    (folder / "rose").chmod(0)
    with pytest.raises(DataError, match="rose cannot be read: Permission denied"):
        contents(str(folder))
    (folder / "rose").chmod(0o700)


def test_transparency_is_dropped_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    buffer = io.BytesIO()
    Image.new("P", (9, 9), 3).save(buffer, "PNG", transparency=bytes(range(10)))
    (tmp_path / "x.png").write_bytes(buffer.getvalue())
    assert images.decoded([tmp_path / "x.png"], "f").shape[:3] == (1, 9, 9)
    assert not recwarn.list
