"""Read the tensors of EfficientNet-Lite0's published checkpoint, without PyTorch.

The file is the one with the SHA-256 below. It is in the older of torch's two formats, until version 1.6 the only one:
five pickles one after another (magic number, protocol version, facts about the writer, the tensors by name, the keys of
the storages), then each storage: an int64 count and that many little-endian numbers.
Source: `_legacy_load` in https://github.com/pytorch/pytorch/blob/v2.5.0/torch/serialization.py.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["SHA256", "read_checkpoint"]

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of efficientnet-lite0-57934424.pth

Array: TypeAlias = npt.NDArray[Any]


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Return the tensors of the checkpoint, by name.

    Args:
        path: of the published file; its SHA-256 is checked before anything in it is read.

    Returns:
        Read-only views of the bytes of the file, float32 or int64, with the shapes and strides that they were saved
        with: kernels are (out, in, h, w).

    Raises:
        OSError: no such file.
        ValueError: one line: it is another file.
    """
    data = path.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        raise ValueError(f"another file than the published one: sha256 {digest[:12]}..., not {SHA256[:12]}...")
    stream = io.BytesIO(data)
    _magic, _protocol, _writer, state, keys = (_Unpickler(stream).load() for _ in range(5))
    dtypes = {window.storage.key: window.storage.dtype for window in state.values()}
    storages = {}
    for key in keys:
        count = int.from_bytes(stream.read(8), "little")
        storages[key] = np.frombuffer(data, dtypes[key], count, stream.tell())
        stream.seek(storages[key].nbytes, io.SEEK_CUR)
    return {name: window.of(storages[window.storage.key]) for name, window in state.items()}


class _Storage(NamedTuple):
    """A run of numbers behind the pickles."""

    key: str
    dtype: np.dtype[Any]


class _Window(NamedTuple):
    """A tensor: a window into a storage, in numbers."""

    storage: _Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, numbers: Array) -> Array:
        strides = [stride * numbers.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.sizes, strides, writeable=False)


class _Unpickler(pickle.Unpickler):
    """Knows the four names that the checkpoint refers to, and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        return {
            "collections.OrderedDict": _State,
            "torch.FloatStorage": np.dtype("<f4"),
            "torch.LongStorage": np.dtype("<i8"),
            "torch._utils._rebuild_tensor_v2": lambda *arguments: _Window(*arguments[:4]),
        }[f"{module}.{name}"]

    def persistent_load(self, pid: Any) -> _Storage:
        _kind, dtype, key, _device, _count, _view = pid
        return _Storage(key, dtype)


class _State(dict[str, _Window]):
    """The tensors by name; torch sets an attribute with the versions of its layers, which a plain dict cannot have."""
