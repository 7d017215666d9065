"""Tell what kind of dataset of a user's own a name is of, and where it is on this machine."""

from pathlib import Path
from typing import Literal

from kd import code
from kd.data.local import named_folder

__all__ = ["FORMS", "Kind", "frozen_name", "kind_of", "place_of"]

Kind = Literal["file", "folder", "function"]

FORMS = "the path of an .npz file or of a folder of images, package.module:load, or ./file.py:load"


def kind_of(name: str) -> Kind | None:
    """Return the kind of an own dataset; None: a name without "/" or ":" that is no folder here either."""
    if name.lower().endswith(".npz"):
        return "file"
    if Path(name).expanduser().is_dir():
        return "folder"
    if code.is_code(name):
        return "function"
    return "folder" if "/" in name else None


def frozen_name(name: str) -> str:
    """Return the name with an absolute path, as a spec keeps it."""
    if kind_of(name) == "function":
        return code.frozen(name)
    return str(Path(name).expanduser().absolute())


def place_of(name: str, data_dir: Path | None) -> Path:
    """Return the path of a file or folder, or the one of that name in the data folder: on another machine they differ.

    Args:
        data_dir: from `--data`; None means KD_SWEEPS_DATA, if set.
    """
    path = Path(name).expanduser()
    if not path.exists() and (named := named_folder(data_dir)) is not None:
        moved = named[1] / path.name
        return moved if moved.exists() else path
    return path
