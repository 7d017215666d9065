"""Build EfficientNet-Lite0 from its published checkpoint.

The checkpoint, with the SHA-256 below, is in torch's older format, the only one before version 1.6: five pickles in
sequence (magic number, protocol version, facts about the writer, the tensors by name, the keys of the storages), then
each storage: an int64 count and that many little-endian numbers.
Source: `_legacy_load` in https://github.com/pytorch/pytorch/blob/v2.5.0/torch/serialization.py.

The network is EfficientNet-B0 for small devices: no squeeze-and-excitation, and ReLU6 instead of swish. Its ImageNet
weights are the only ones that a package registry offers in a few megabytes.
Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

import hashlib
import io
import pickle
import re
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of efficientnet-lite0-57934424.pth

Array: TypeAlias = npt.NDArray[Any]


def read_checkpoint(path: Path) -> dict[str, Array]:
    """Return the tensors of the checkpoint, by name.

    They are read-only views of the bytes of the file, float32 or int64, with their saved shapes and strides: kernels
    are (out, in, h, w).

    Raises:
        OSError: no such file.
        ValueError: one line: its SHA-256, which is checked first, is not that of the published file.
    """
    data = path.read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        raise ValueError(f"not the published file: sha256 {digest[:12]}..., not {SHA256[:12]}...")
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
    """Knows the four names that the checkpoint refers to, and imports no module."""

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
    """The tensors by name: a dict, but one that torch can set an attribute of, the versions of its layers."""


# Repeats, kernel side, stride of the first, expansion, output channels of each stage.
# Source: Tan and Le 2019, arXiv:1905.11946, table 1.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280  # channels
EPSILON = 1e-3  # of every BatchNorm

# In the checkpoint but not in the network: the classes of ImageNet, and counters for training.
UNUSED = re.compile(r"_fc\.(weight|bias)|.*\.num_batches_tracked")


def build(pixels: int, checkpoint: Path) -> keras.Model:
    """Build the network, from preprocessed images (n, pixels, pixels, 3) to features (n, 1280).

    The pixels are a multiple of 32: for others, PyTorch and Keras pad a strided convolution differently.

    Raises:
        OSError, ValueError: see `read_checkpoint`.
    """
    network = _network(pixels)
    tensors = {name: tensor for name, tensor in read_checkpoint(checkpoint).items() if not UNUSED.fullmatch(name)}
    for layer in network.layers:
        if layer.weights:
            layer.set_weights([_weight(tensors, name, shape) for name, shape in _names_and_shapes(layer)])
    if tensors:
        raise ValueError(f"the checkpoint has {min(tensors)!r:.80}, which EfficientNet-Lite0 lacks")
    return network


def _network(pixels: int) -> keras.Model:
    """Build the network with random weights; its layers have the checkpoint's names, see `_names_and_shapes`."""
    images = keras.Input((pixels, pixels, 3))
    x = _convolved(images, STEM, 3, stride=2, names=("conv_stem", "bn0"))
    block = 0
    for repeats, kernel, first_stride, expansion, channels in STAGES:
        for repeat in range(repeats):
            stride = 1 if repeat else first_stride
            x = _block(x, f"block{block}", kernel=kernel, stride=stride, expansion=expansion, channels=channels)
            block += 1
    x = _convolved(x, HEAD, 1, names=("conv_head", "bn1"))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="efficientnet-lite0")


def _block(
    x: keras.KerasTensor, name: str, *, kernel: int, stride: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """Add an inverted residual bottleneck. Source: Sandler et al. 2018, arXiv:1801.04381, table 1."""
    inputs = x
    if expansion > 1:
        x = _convolved(x, expansion * x.shape[-1], 1, names=(f"{name}_expand_conv", f"{name}_bn0"))
    x = keras.layers.DepthwiseConv2D(
        kernel, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalised(x, f"{name}_bn1")
    x = _convolved(x, channels, 1, names=(f"{name}_project_conv", f"{name}_bn2"), linear=True)
    if stride == 1 and channels == inputs.shape[-1]:
        x = keras.layers.Add(name=f"{name}_add")([x, inputs])
    return x


def _convolved(
    x: keras.KerasTensor, channels: int, kernel: int, *, names: tuple[str, str], stride: int = 1, linear: bool = False
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False, name=names[0])(x)
    return _normalised(x, names[1], linear=linear)


def _normalised(x: keras.KerasTensor, name: str, *, linear: bool = False) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=name)(x)
    return x if linear else keras.layers.ReLU(6.0)(x)


def _names_and_shapes(layer: keras.Layer) -> list[tuple[str, tuple[int, ...]]]:
    """Return the checkpoint's names of a layer's weights, and their shapes in Keras, in Keras' order."""
    prefix = re.sub(r"^block(\d+)_", r"blocks.\1._", layer.name)
    if isinstance(layer, keras.layers.BatchNormalization):
        names = ["weight", "bias", "running_mean", "running_var"]
    else:
        names = ["weight"]
    return [(f"_{prefix}.{name}", tuple(weight.shape)) for name, weight in zip(names, layer.weights, strict=True)]


def _weight(tensors: dict[str, npt.NDArray[np.float32]], name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    if name not in tensors:
        raise ValueError(f"the checkpoint has no {name!r}, so it is not EfficientNet-Lite0's")
    tensor = tensors.pop(name)
    if tensor.ndim == 4:  # (out, in, h, w) to (h, w, in, out); a depthwise kernel is (c, 1, h, w) and (h, w, c, 1)
        tensor = tensor.transpose(2, 3, 0, 1) if "_depthwise_conv" in name else tensor.transpose(2, 3, 1, 0)
    if tensor.shape != shape or tensor.dtype != np.float32:
        raise ValueError(f"{name!r} in the checkpoint does not fit: {tensor.dtype} {tensor.shape}, not {shape}")
    return tensor
