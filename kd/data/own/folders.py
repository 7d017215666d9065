"""Find the images of a folder that has one subfolder for each class, or train/ and test/ with these."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kd.errors import DataError

__all__ = ["SUFFIXES", "Layout", "layout"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
OTHER_IMAGES = (".webp", ".tif", ".tiff", ".heic", ".avif", ".ppm", ".pgm", ".jp2")
PARTS = ("train", "test")

Files = tuple[tuple[Path, ...], ...]


@dataclass(frozen=True)
class Layout:
    """The image files of a folder.

    Attributes:
        class_names: sorted; class 0 is the first.
        train: for each class its files, sorted by name.
        test: the same; empty where the folder has no test part.
    """

    class_names: tuple[str, ...]
    train: Files
    test: Files = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files: of train by class, then of test."""
        return tuple(file for part in (self.train, self.test) for files in part for file in files)


def layout(folder: Path) -> Layout:
    """Return the image files of a folder. Files and folders whose names begin with "." or "__" are passed over.

    Raises:
        DataError: no such folder, or one that is not laid out so: one line that names the folder or file.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(
            f"{folder} {what}; give a folder with one subfolder of images for each class, the path of an .npz file,"
            " or ./file.py:function"
        )
    try:
        return _layout(folder)
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error


def _layout(folder: Path) -> Layout:
    parts = _subfolders(folder)
    if not set(PARTS) <= set(parts):
        classes = _classes(folder, parts)
        return Layout(tuple(classes), tuple(classes.values()))
    if others := [name for name in parts if name not in PARTS]:
        raise DataError(
            f"{folder} has train, test and {', '.join(others)}; allowed beside train and test: nothing. Put the images"
            " of a validation part into train: validation is set aside from there"
        )
    train, test = (_classes(parts[name], _subfolders(parts[name])) for name in PARTS)
    if more := [name for name in test if name not in train]:
        raise DataError(f"{folder}/test has the class {more[0]!r}, which {folder}/train lacks")
    return Layout(tuple(train), tuple(train.values()), tuple(test.get(name, ()) for name in train))


def _classes(folder: Path, subfolders: Mapping[str, Path]) -> dict[str, tuple[Path, ...]]:
    if not subfolders:
        loose = len(_images(folder))
        found = f"holds {loose} images and no subfolders" if loose else "holds no images"
        raise DataError(f"{folder} {found}; give a folder with one subfolder of images for each class")
    classes = {name: _images(path) for name, path in subfolders.items()}
    for name, files in classes.items():
        if not files:
            inside = ", ".join(list(_subfolders(subfolders[name]))[:3])
            has = f"it has the subfolders {inside}, ..." if inside else f"allowed: {', '.join(SUFFIXES)}"
            raise DataError(f"{subfolders[name]} holds no images, and each subfolder is a class; {has}")
    if len(classes) < 2 and folder.name != "test":
        raise DataError(f"{folder} has one class only, {next(iter(classes))!r}; at least 2 are needed")
    return classes


def _subfolders(folder: Path) -> dict[str, Path]:
    found = [path for path in folder.iterdir() if not path.name.startswith((".", "__")) and path.is_dir()]
    return {path.name: path for path in sorted(found, key=lambda path: path.name)}


def _images(folder: Path) -> tuple[Path, ...]:
    found = []
    for path in folder.iterdir():
        suffix = path.suffix.lower()
        if path.name.startswith((".", "__")) or suffix not in (*SUFFIXES, *OTHER_IMAGES) or not path.is_file():
            continue
        if suffix in OTHER_IMAGES:
            raise DataError(f"{path} is of a kind that is not read; allowed: {', '.join(SUFFIXES)}")
        found.append(path)
    return tuple(sorted(found, key=lambda path: path.name))
