"""Save a model as bytes, load them again, and check that the predictions are the same."""

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from kd.errors import ModelError

__all__ = ["export"]


def export(
    model: keras.Model,
    *,
    probe: npt.NDArray[np.uint8],
    expected: npt.NDArray[np.float32],
    work_dir: Path,
) -> bytes:
    """Return the bytes of a .keras file that, loaded again, gives the expected predictions on the probe.

    The file is what is measured and deployed, and AutoKeras has written files that predict differently from the
    model they were saved from: https://github.com/keras-team/autokeras/issues/1963.

    Args:
        model: takes images, returns one output per class; not compiled, so that no optimizer is saved.
        probe: uint8, shape (n, h, w, c).
        expected: shape (n, classes), of the model as it was trained and scored.
        work_dir: folder for the temporary file.

    Raises:
        ModelError: the file predicts something else.
    """
    path = work_dir / "export.keras"
    try:
        model.save(path)
        reloaded = keras.models.load_model(path, compile=False)
        found = reloaded.predict(probe, verbose=0)
        if not np.allclose(found, expected, rtol=1e-3, atol=1e-3, equal_nan=True):
            gap = float(np.abs(found - expected).max())
            raise ModelError(
                f"the saved {model.name} predicts otherwise than the trained one: outputs differ by {gap:.3g}"
                f" on {len(probe)} images, so its score would be of another model"
            )
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
