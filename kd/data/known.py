"""List the datasets with a known content: MNIST and CIFAR-10, by the sha256 of their arrays."""

from collections.abc import Mapping
from dataclasses import dataclass

from kd.data.arrays import KEYS, Arrays, content_hash_of

__all__ = ["KNOWN_DATASETS", "KnownDataset"]


@dataclass(frozen=True, kw_only=True)
class KnownDataset:
    """The shapes and hashes that the arrays of a public dataset must have.

    Attributes:
        shapes: by key, as in the .npz files that people share; all arrays are uint8.
        hashes: by key, sha256 of the raw array bytes in the published order.
        classes: number of classes.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    hashes: Mapping[str, str]
    classes: int = 10

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return (h, w, c)."""
        height, width, *channels = self.shapes["x_train"][1:]
        return height, width, channels[0] if channels else 1

    @property
    def content_hash(self) -> str:
        """Return the `Arrays.content_hash` of the dataset, without reading anything."""
        return content_hash_of(self.hashes, self.image_shape)

    def difference(self, arrays: Arrays) -> str | None:
        """Return how arrays differ from this dataset, or None if they are equal bit for bit."""
        for key in ("x_train", "x_test"):
            images = getattr(arrays, key)
            expected = (self.shapes[key][0], *self.image_shape)
            if images.shape != expected:
                return f"{key} has shape {images.shape}, not {expected}"
        for key in KEYS:
            if arrays.hashes[key] != self.hashes[key]:
                return f"{key} has sha256 {arrays.hashes[key][:12]}..., not {self.hashes[key][:12]}..."
        return None


KNOWN_DATASETS: Mapping[str, KnownDataset] = {
    "mnist": KnownDataset(
        name="mnist",
        shapes={
            "x_train": (60000, 28, 28),
            "y_train": (60000,),
            "x_test": (10000, 28, 28),
            "y_test": (10000,),
        },
        hashes={
            "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
        },
    ),
    "cifar10": KnownDataset(
        name="cifar10",
        shapes={
            "x_train": (50000, 32, 32, 3),
            "y_train": (50000, 1),
            "x_test": (10000, 32, 32, 3),
            "y_test": (10000, 1),
        },
        hashes={
            "x_train": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
            "y_train": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
            "x_test": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
            "y_test": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
        },
    ),
}
