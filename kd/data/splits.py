"""Split images into training and validation: stratified by class, always the same, and hashed."""

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["SEED", "split_hash", "stratified_order"]

SEED = 150302531  # arXiv:1503.02531; any fixed number would do, but it must never change

Indices = npt.NDArray[np.int64]


def stratified_order(labels: Indices, seed: int = SEED) -> Indices:
    """Return a shuffled order in which every beginning and every end is stratified by class.

    Image number j of the n images of its class, in shuffled order, is placed at j/n, and ties are broken at
    random. So the first N hold each class in proportion (to within one image per class), and hold every
    class as soon as N reaches the number of classes, however rare a class is.

    Args:
        labels: int64, shape (n,).
        seed: of numpy's PCG64.

    Returns:
        int64, shape (n,): a permutation of 0..n-1.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    place = np.empty(len(labels), dtype=np.float64)  # in [0, 1)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        place[members] = np.arange(len(members)) / len(members)
    tie_break = rng.permutation(len(labels))
    return np.lexsort((tie_break, place)).astype(np.int64)


def split_hash(name: str, content_hash: str, train: Indices, validation: Indices) -> str:
    """Return the sha256 over the dataset and the images chosen from it, in order.

    Two runs with the same split hash trained and validated on the same images.
    """
    digest = hashlib.sha256(f"{name}\n{content_hash}\n{len(train)} {len(validation)}\n".encode())
    for indices in (train, validation):
        digest.update(indices.astype("<i8").tobytes())
    return digest.hexdigest()
