"""A model as bytes: only if the file predicts what the model did."""

from pathlib import Path

import keras
import numpy as np
import pytest

from kd.errors import ModelError
from kd.models.files import export, load

pytestmark = pytest.mark.training

PROBE = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)], name="small")


def test_the_bytes_predict_what_the_model_did_and_nothing_else_is_left(tmp_path: Path) -> None:
    network = model()
    expected = network.predict_on_batch(PROBE)
    data = export(network, probe=PROBE, expected=expected, work_dir=tmp_path)
    np.testing.assert_allclose(load(data).predict_on_batch(PROBE), expected, rtol=1e-5)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_predicts_otherwise_is_refused(tmp_path: Path) -> None:
    network = model()
    with pytest.raises(ModelError, match=r"the saved small predicts otherwise .* differ by 5 on 5 images"):
        export(network, probe=PROBE, expected=network.predict_on_batch(PROBE) + 5, work_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
