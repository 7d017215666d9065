"""Reads the tensors of a PyTorch checkpoint without PyTorch, and without running anything that is written in it.

The older of torch's two formats, until version 1.6 the only one: five pickles one after another (magic number, protocol
version, facts about the writer, the object, the keys of its storages), then each storage: an int64 count and that many
little-endian numbers. A tensor is a window into a storage: an offset, sizes and strides.
Source: `_legacy_load` in https://github.com/pytorch/pytorch/blob/v2.5.0/torch/serialization.py.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kd.baselines.lite0.pickles import ORDERED_DICT, Call, Global, Persistent, read_pickle

__all__ = ["read_checkpoint"]

Array: TypeAlias = npt.NDArray[Any]

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
REBUILD = Global("torch._utils _rebuild_tensor_v2")
DTYPES: dict[str, np.dtype[Any]] = {"torch FloatStorage": np.dtype("<f4"), "torch LongStorage": np.dtype("<i8")}
ALLOWED = frozenset({ORDERED_DICT.name, REBUILD.name, *DTYPES})
DIMENSIONS = 4  # of a convolution's kernel; no weight has more


def read_checkpoint(path: Path) -> dict[str, Array]:
    """The tensors of a saved state dictionary, by name.

    They are read-only views of the bytes of the file, float32 or int64, in the strides that they were saved with, so
    that a file cannot ask for more memory than it has bytes.

    Args:
        path: what `torch.save(model.state_dict(), path)` wrote in the older format.

    Raises:
        OSError: no such file.
        ValueError: one line: what is wrong with it, or what it contains beside tensors.
    """
    data = path.read_bytes()
    stream = io.BytesIO(data)
    try:
        magic, protocol, writer, state, keys = (read_pickle(stream, ALLOWED) for _ in range(5))
        if magic != MAGIC or protocol != PROTOCOL:
            raise ValueError("another magic number or protocol version")
    except ValueError as error:
        raise ValueError(f"not a checkpoint in torch's older format: {error}") from error
    if not isinstance(writer, dict) or writer.get("little_endian") is not True:
        raise ValueError("the checkpoint is not little-endian")
    if not isinstance(state, dict) or not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("the checkpoint is not a dictionary of tensors")
    tensors = [_Tensor.of(name, value) for name, value in state.items()]
    storages = _read_storages(data, stream.tell(), keys, _declared(tensors))
    return {tensor.name: tensor.window(storages[tensor.storage]) for tensor in tensors}


@dataclass(frozen=True)
class _Tensor:
    """What the object says of one tensor, checked as far as it can be without the storage."""

    name: str
    storage: str  # its key
    dtype: np.dtype[Any]
    numbers: int  # in the storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, name: str, value: object) -> _Tensor:
        if not isinstance(value, Call) or value.function != REBUILD or len(value.arguments) != 6:
            raise ValueError(f"{name!r:.80} is not a tensor")
        reference, offset, sizes, strides, _, _ = value.arguments
        match reference:
            case Persistent(("storage", Global(kind), str(key), str(), int(numbers), None)) if kind in DTYPES:
                pass
            case _:
                raise ValueError(f"{name!r:.80} has no storage of floats or integers")
        counts = _are_integers(sizes, least=1) and _are_integers(strides, least=0) and _are_integers((offset,), least=0)
        if not counts or not len(sizes) == len(strides) <= DIMENSIONS:
            raise ValueError(f"{name!r:.80} has an offset, sizes or strides that no weight has")
        return cls(name, key, DTYPES[kind], numbers, offset, sizes, strides)

    def window(self, storage: Array) -> Array:
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True))
        # A stride of 0 repeats a number, as often as a file likes: no weight is larger than what was stored of it.
        if last >= len(storage) or math.prod(self.sizes) > len(storage):
            raise ValueError(f"{self.name!r:.80} reaches beyond its storage of {len(storage)} numbers")
        # Along a side of length 1 a stride says nothing, and may be any number.
        strides = [min(stride, len(storage)) * storage.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(storage[self.offset :], self.sizes, strides, writeable=False)


def _are_integers(values: object, *, least: int) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and value >= least for value in values)


def _declared(tensors: list[_Tensor]) -> dict[str, tuple[np.dtype[Any], int]]:
    """Of each storage, by key: the type of its numbers and how many they are, on which all its tensors agree."""
    found: dict[str, tuple[np.dtype[Any], int]] = {}
    for tensor in tensors:
        claim = (tensor.dtype, tensor.numbers)
        if found.setdefault(tensor.storage, claim) != claim:
            raise ValueError(f"two tensors disagree about the storage {tensor.storage!r:.80}")
    return found


def _read_storages(
    data: bytes, position: int, keys: list[str], declared: Mapping[str, tuple[np.dtype[Any], int]]
) -> dict[str, Array]:
    """The storages that lie from `position` to the end of the file, in the order of `keys`."""
    if sorted(keys) != sorted(declared):
        raise ValueError("the list of storages is not that of the tensors")
    storages = {}
    for key in keys:
        dtype, expected = declared[key]
        count = int.from_bytes(data[position : position + 8], "little", signed=True)
        position += 8
        if count != expected:
            raise ValueError(f"storage {key!r:.80} holds {count} numbers where its tensors say {expected}")
        if not 0 <= count * dtype.itemsize <= len(data) - position:
            raise ValueError(f"storage {key!r:.80} of {count} numbers is longer than the rest of the file")
        storages[key] = np.frombuffer(data, dtype, count, position)
        position += count * dtype.itemsize
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes follow the last storage")
    return storages
