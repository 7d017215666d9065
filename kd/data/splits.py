"""Split images into training, validation and test: stratified by class, always the same, and hashed."""

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["SEED", "held_out", "split_hash", "stratified_order"]

SEED = 150302531  # arXiv:1503.02531; any fixed number would do, but it must never change
TEST_SEED = 20260715  # of the test part of who brings none; it must never change, either
TEST_SHARE = 6  # one image in six

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


def held_out(images: npt.NDArray[np.uint8], labels: Indices) -> tuple[Indices, Indices]:
    """Split images that come without a test part: a sixth of them, stratified by class, becomes it.

    Which ones depends on the images and their labels alone, not on their order: each class is sorted by the sha256 of
    its images first.

    Args:
        images: uint8, shape (n, ...), n >= 2.
        labels: integers, shape (n,).

    Returns:
        int64 positions of the training and of the test images, each ascending.
    """
    digests = np.array([hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in images])
    order = np.lexsort((digests, labels))
    shuffled = order[stratified_order(labels[order], TEST_SEED)]
    tests = max(1, len(labels) // TEST_SHARE)
    return np.sort(shuffled[:-tests]), np.sort(shuffled[-tests:])


def split_hash(name: str, content_hash: str, train: Indices, validation: Indices) -> str:
    """Return the sha256 over the dataset and the images chosen from it, in order.

    Two runs with the same split hash trained and validated on the same images.
    """
    digest = hashlib.sha256(f"{name}\n{content_hash}\n{len(train)} {len(validation)}\n".encode())
    for indices in (train, validation):
        digest.update(indices.astype("<i8").tobytes())
    return digest.hexdigest()
