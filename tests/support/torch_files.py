"""Checkpoints in torch's older format, written instruction by instruction without torch."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DICT = b"ccollections\nOrderedDict\n)R"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
KINDS = {"float32": "Float", "int64": "Long"}

Array = npt.NDArray[Any]


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return pickle.BINUNICODE + len(data).to_bytes(4, "little") + data


def integer(value: int) -> bytes:
    data = pickle.encode_long(value)
    return pickle.LONG1 + bytes([len(data)]) + data


def group(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def storage(key: str, count: int, kind: str) -> bytes:
    return group(text("storage"), f"ctorch\n{kind}Storage\n".encode(), text(key), text("cpu"), integer(count), b"N")


def tensor(reference: bytes, sizes: Sequence[int], strides: Sequence[int]) -> bytes:
    windows = [group(*map(integer, numbers)) for numbers in (sizes, strides)]
    return REBUILD + group(reference + pickle.BINPERSID, integer(0), *windows, pickle.NEWFALSE, DICT) + pickle.REDUCE


def saved(arrays: Mapping[str, Array]) -> bytes:
    """Return what torch.save writes for these arrays; non-contiguous ones are saved in memory order."""
    items, storages = b"", {}
    for number, (name, array) in enumerate(arrays.items()):
        key = str(1000 + number)
        storages[key] = array.ravel(order="K")
        strides = [stride // array.itemsize for stride in array.strides]
        items += text(name) + tensor(storage(key, array.size, KINDS[array.dtype.name]), array.shape, strides)
    attributes = pickle.EMPTY_DICT + text("_metadata") + DICT + pickle.SETITEM  # of torch's state dictionary
    content = DICT + pickle.MARK + items + pickle.SETITEMS + attributes + pickle.BUILD
    writer = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2}}
    head = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, writer)]
    data = [len(numbers).to_bytes(8, "little") + numbers.tobytes() for numbers in storages.values()]
    return b"".join([*head, pickle.PROTO + b"\x02" + content + pickle.STOP, pickle.dumps(list(storages), 2), *data])
