import os
import pickle
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from kd.baselines.lite0.checkpoint import read_checkpoint
from tests.support.torch_files import DICT, REBUILD, checkpoint, group, integer, saved, state, storage, tensor, text

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
    "bn.num_batches_tracked": np.array(7),
    "bn.weight": np.linspace(-1, 1, 5, dtype=np.float32),
}
SIX = {"9": np.arange(6, dtype=np.float32)}


def read(data: bytes, folder: Path) -> dict[str, np.ndarray]:
    path = folder / "checkpoint.pth"
    path.write_bytes(data)
    return read_checkpoint(path)


def test_tensors_come_back_with_their_names_shapes_types_and_values(tmp_path: Path) -> None:
    found = read(saved(ARRAYS), tmp_path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert not found["conv.weight"].flags.c_contiguous  # as it was saved, not as it looks


def test_tensors_may_share_a_storage_and_are_views_of_it(tmp_path: Path) -> None:
    halves = {name: tensor(storage("9", 6), offset, [3], [1]) for name, offset in (("first", 0), ("second", 3))}
    every_other = {"even": tensor(storage("9", 6), 0, [3, 1], [2, 10**6])}  # a stride of one step says nothing
    found = read(checkpoint(state(halves | every_other), SIX), tmp_path)
    np.testing.assert_array_equal(found["second"], [3, 4, 5])
    np.testing.assert_array_equal(found["even"], [[0], [2], [4]])
    assert not found["first"].flags.writeable


CALLS = {
    "os.system": b"cos\nsystem\n" + group(text("touch canary")) + b"R",
    "posix.system": b"cposix\nsystem\n" + group(text("touch canary")) + b"R",
    "builtins.eval": b"cbuiltins\neval\n" + group(text("open('canary', 'w')")) + b"R",
    "builtins.getattr": b"cbuiltins\ngetattr\n)R",
    "a path for a name": b"c../../tmp/evil\nrun\n)R",
    "another name of torch": b"ctorch._utils\n_rebuild_parameter\n)R",
    "another storage": tensor(storage("9", 6, "Half"), 0, [6], [1]),
    "INST": b"(" + text("touch canary") + b"ios\nsystem\n",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93" + group(text("touch canary")) + b"R",
    "OBJ": b"(" + DICT[:-2] + b"o",
    "NEWOBJ": DICT[:-2] + b")\x81",
    "EXT1": b"\x82\x01",
    "PERSID": b"Pfile:///etc/passwd\n",
    "a called tensor": tensor(storage("9", 6), 0, [6], [1]) + b")R",
    "a called text": text("os.system") + group(text("touch canary")) + b"R",
    "attributes of a name": REBUILD + b"}" + text("__code__") + b"Nsb",
    "attributes of a tuple": group() + b"}b",
}
TENSORS = {
    "no tensor": integer(3),
    "a name": REBUILD,
    "a dictionary with content": DICT[:-2] + group(integer(1)) + b"R",
    "a tensor without arguments": REBUILD + group() + b"R",
    "a tensor with too few arguments": REBUILD + group(storage("9", 6) + b"Q", integer(0)) + b"R",
    "no storage": REBUILD + group(*[integer(0)] * 6) + b"R",
    "a text for a storage": tensor(text("/etc/passwd"), 0, [6], [1]),
    "too short a reference": tensor(group(text("storage")), 0, [6], [1]),
    "another reference": tensor(group(text("module"), *[text("x")] * 5), 0, [6], [1]),
    "a view's reference": tensor(storage("9", 6)[:-2] + group(integer(0)) + b"t", 0, [6], [1]),
    "a storage that is not listed": tensor(storage("8", 6), 0, [6], [1]),
    "another count": tensor(storage("9", 5), 0, [5], [1]),
    "a huge count": tensor(storage("9", 2**62), 0, [6], [1]),
    "a negative count": tensor(storage("9", -6), 0, [6], [1]),
    "another type": tensor(storage("9", 6, "Long"), 0, [6], [1]),
    "too large": tensor(storage("9", 6), 0, [7], [1]),
    "too far": tensor(storage("9", 6), 4, [3], [1]),
    "too far by its stride": tensor(storage("9", 6), 0, [3], [3]),
    "far too far": tensor(storage("9", 6), 2**70, [1], [1]),
    "a negative offset": tensor(storage("9", 6), -1, [3], [1]),
    "a negative size": tensor(storage("9", 6), 0, [-3], [1]),
    "a negative stride": tensor(storage("9", 6), 5, [6], [-1]),
    "sizes without strides": tensor(storage("9", 6), 0, [6], []),
    "a number repeated for ever": tensor(storage("9", 6), 0, [2**40], [0]),
    "more than four sides": tensor(storage("9", 6), 0, [1] * 5, [1] * 5),
    "a yes for a size": tensor(storage("9", 6), 0, [6], [1]).replace(group(integer(6)), group(b"\x88"), 1),
    "a number for sizes": tensor(storage("9", 6), 0, [6], [1]).replace(group(integer(6)), integer(6), 1),
}
WHOLES = {
    "an object that is no dictionary": text("weights"),
    "a list": b"](" + text("weights") + b"e",
    "keys that are no text": DICT + integer(1) + tensor(storage("9", 6), 0, [6], [1]) + b"s",
    "a key of a hundred thousand tuples": DICT + b")" + b"\x85" * 100_000 + b"Ns",
    "a value without its key": DICT + b"(" + text("weight") + b"u",
    "items of a text": text("x") + text("y") + b"Ns",
    "an element of a dictionary": DICT + b"Na",
    "a mark for a value": DICT + text("x") + b"(s",
    "nothing to take": b"s",
    "nothing remembered": b"h\x05",
    "more than a megabyte": b")" * (1 << 20),
    "a text of an exabyte": b"X\xff\xff\xff\x7fabc",
    "a longer text": b"\x8d" + (2**62).to_bytes(8, "little") + b"abc",
    "bytes of an exabyte": b"\x8e" + (2**62).to_bytes(8, "little") + b"abc",
    "a frame of an exabyte": b"\x95" + (2**62).to_bytes(8, "little") + b"abc",
    "a number of many digits": b"I" + b"9" * 10_000 + b"\n",
}
ENDS = {
    "empty": b"",
    "a page": b"<html>please log in</html>",
    "torch's newer format": b"PK\x03\x04" + bytes(1000),
    "another pickle": pickle.dumps({"weight": 1}),
    "another magic number": pickle.dumps(1, 2) * 5,
    "one byte more": saved(ARRAYS) + b"\0",
    "a pickle more": saved(ARRAYS) + pickle.dumps(1),
    "big-endian": checkpoint(state({}), {}, little_endian=False),
    "a storage that no tensor has": checkpoint(state({}), SIX),
    "a storage that is listed twice": checkpoint(state({"w": tensor(storage("9", 6), 0, [6], [1])}), SIX).replace(
        pickle.dumps(["9"], 2), pickle.dumps(["9", "9"], 2)
    ),
}
HOSTILE = {
    **{name: checkpoint(state({"w": value}), SIX) for name, value in (CALLS | TENSORS).items()},
    **{name: checkpoint(value, SIX) for name, value in WHOLES.items()},
    **ENDS,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_an_error_of_one_line_that_runs_nothing_and_takes_no_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r".") as caught:
            read(HOSTILE[name], tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 250
    assert peak < 20_000_000 + 20 * len(HOSTILE[name])
    assert os.listdir(tmp_path) == ["checkpoint.pth"]


@pytest.mark.parametrize(("name", "global_"), [("os.system", "os system"), ("builtins.eval", "builtins eval")])
def test_what_it_would_have_called_is_named(name: str, global_: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"it names '{global_}', which no weights need"):
        read(HOSTILE[name], tmp_path)


def test_a_memo_of_four_billion_places_is_not_reserved(tmp_path: Path) -> None:
    content = state({"w": tensor(storage("9", 6), 0, [6], [1])})
    tracemalloc.start()
    try:
        found = read(checkpoint(content[:-1] + b"r\xff\xff\xff\xff" + content[-1:], SIX), tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found["w"], SIX["9"])


def test_a_file_that_ends_too_early_is_an_error_wherever_it_ends(tmp_path: Path) -> None:
    whole = saved(ARRAYS)
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"."):
            read(whole[:length], tmp_path)


def test_a_file_with_a_wrong_byte_is_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    whole, choose = saved(ARRAYS), random.Random(0)
    refused = 0
    for _ in range(1_000):
        damaged = bytearray(whole)
        damaged[choose.randrange(len(whole))] = choose.randrange(256)
        try:
            read(bytes(damaged), tmp_path)
        except ValueError:
            refused += 1
    assert 300 < refused < 1_000
