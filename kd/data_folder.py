"""The folder of datasets that the user named, by `--data DIR` or KD_SWEEPS_DATA: the first of all sources."""

import os
from pathlib import Path

from kd.arrays import Arrays, read_npz
from kd.errors import DataError
from kd.official import OFFICIAL

__all__ = ["named_folder", "read_named"]


def named_folder(data_dir: Path | None) -> tuple[str, Path] | None:
    """How the user named a folder, and the folder; None when there is none.

    Args:
        data_dir: from `--data`; None means KD_SWEEPS_DATA, if set.

    Raises:
        DataError: what was named is not a folder.
    """
    if data_dir is not None:
        said, folder = "--data", Path(data_dir)
    elif value := os.environ.get("KD_SWEEPS_DATA"):
        said, folder = "KD_SWEEPS_DATA", Path(value)
    else:
        return None
    folder = folder.expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{said}: {folder} {what}; give a folder that holds mnist.npz or cifar10.npz")
    return said, folder


def read_named(name: str, path: Path) -> Arrays:
    """The official dataset in a file that the user put there.

    Raises:
        DataError: the file is anything else. It is never passed over: the user counts on it.
    """
    arrays = read_npz(path)
    if (difference := OFFICIAL[name].difference(arrays)) is not None:
        raise DataError(
            f"{path} is not the official {name}: {difference}; remove it to have the official one fetched, "
            f"or give the path itself as the name of the dataset"
        )
    return arrays
