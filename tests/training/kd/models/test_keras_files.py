"""kd.models.files: the logits under a softmax, and the same architecture untrained."""

import keras
import numpy as np
import pytest
from keras import layers

from kd.errors import ModelError
from kd.models.files import build_from_file, load, rebuilt, to_bytes, with_logits
from kd.models.named import build

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)


def adapted():
    """Normalization adapted to other images; BatchNorm, Dropout and an initializer with its own seed."""
    normalization = layers.Normalization()
    normalization.adapt(RNG.integers(0, 100, (50, 8, 8, 3)).astype(np.float32))
    return [
        keras.Input((8, 8, 3), name="images"),
        normalization,
        layers.Conv2D(4, 3, use_bias=False, kernel_initializer=keras.initializers.HeNormal(seed=5)),
        layers.BatchNormalization(),
        layers.Dropout(0.5, seed=7),
        layers.Flatten(),
    ]


def trained(model):
    """Change every weight and statistic of a model, as training would, except adapted ones."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            trained(layer)
        elif not isinstance(layer, layers.Normalization):
            layer.set_weights([weight + RNG.uniform(-0.1, 0.1, weight.shape) for weight in layer.get_weights()])
    return model


ENDS = {
    "Softmax": [layers.Dense(5), layers.Softmax(name="end")],
    "Activation softmax": [layers.Dense(5), layers.Activation("softmax")],
    "Activation sigmoid": [layers.Dense(5), layers.Activation("sigmoid")],
    "Dense softmax": [layers.Dense(5, activation="softmax")],
    "Dense sigmoid": [layers.Dense(5, activation="sigmoid")],
}


@pytest.mark.parametrize(
    ("end", "kind"), [*((end, "functional") for end in ENDS), ("Softmax", "sequential"), ("Dense softmax", "nested")]
)
def test_logits_are_those_whose_softmax_or_sigmoid_the_model_gave(end, kind):
    chain = keras.Sequential([*adapted(), *(type(layer).from_config(layer.get_config()) for layer in ENDS[end])])
    model = chain
    if kind == "functional":
        model = keras.Model(chain.inputs[0], chain.outputs[0])
    if kind == "nested":
        images = keras.Input((8, 8, 3), dtype="uint8")
        model = keras.Model(images, keras.Model(chain.inputs[0], chain.outputs[0])(images))
    data = to_bytes(trained(model))
    logits = np.asarray(with_logits(data)(IMAGES))
    activation = keras.activations.sigmoid if "sigmoid" in end else keras.activations.softmax
    np.testing.assert_allclose(activation(logits), load(data)(IMAGES), rtol=1e-4, atol=1e-6)
    assert logits.min() < 0


def test_logits_are_not_lost_where_the_softmax_is_saturated():
    dense = layers.Dense(3, activation="softmax", kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), dense])
    dense.bias.assign([0.0, -150.0, -200.0])
    assert model(IMAGES[:1]).numpy().tolist() == [[1.0, 0.0, 0.0]]
    assert with_logits(to_bytes(model))(IMAGES[:1]).numpy().tolist() == [[0.0, -150.0, -200.0]]


def test_a_model_that_gives_logits_is_unchanged():
    model = build("cnn-small-narrow", (8, 8, 3), 5, seed=0)
    np.testing.assert_array_equal(with_logits(to_bytes(model))(IMAGES), model(IMAGES))


def values(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def test_a_rebuilt_model_is_new_except_for_adapted_layers():
    data = to_bytes(trained(keras.Sequential([*adapted(), layers.Dense(5, activation="softmax")])))
    model = rebuilt(data, seed=1)
    fresh = keras.Sequential([*adapted(), layers.Dense(5)])
    assert [weight.shape for weight in model.weights] == [weight.shape for weight in fresh.weights]
    old_norm, new_norm = load(data).layers[0], model.layers[0]
    np.testing.assert_array_equal(new_norm(IMAGES), old_norm(IMAGES))
    statistics = model.layers[2]
    assert statistics.moving_mean.numpy().tolist() == [0.0] * 4
    assert statistics.moving_variance.numpy().tolist() == [1.0] * 4
    for old, new in zip(load(data).trainable_weights, model.trainable_weights, strict=True):
        assert not np.allclose(old, new)
    assert model(IMAGES).numpy().min() < 0  # logits


def test_the_seed_determines_the_weights_even_of_seeded_initializers():
    data = to_bytes(keras.Sequential([*adapted(), layers.Dense(5)]))
    first, repeated, other = (rebuilt(data, seed=seed) for seed in (3, 3, 4))
    for array, same in zip(values(first), values(repeated), strict=True):
        np.testing.assert_array_equal(array, same)
    kernels = [weight for weight in first.trainable_weights if weight.path.endswith("kernel")]
    others = [weight for weight in other.trainable_weights if weight.path.endswith("kernel")]
    assert len(kernels) == 2
    for kernel, different in zip(kernels, others, strict=True):
        assert not np.allclose(kernel, different)
    # Dropout's generator is seeded, too
    np.testing.assert_array_equal(first(IMAGES, training=True), repeated(IMAGES, training=True))


def test_frozen_layers_of_the_file_are_trained_again():
    model = keras.Sequential([*adapted(), layers.Dense(5)])
    model.layers[1].trainable = False
    assert len(rebuilt(to_bytes(model), seed=0).trainable_weights) == 5  # Conv2D, BatchNorm, Dense


@pytest.mark.parametrize("data", [b"", b"no model", b"PK\x05\x06" + bytes(18)])
def test_bytes_that_are_not_a_model_get_one_line(data):
    with pytest.raises(ModelError, match=r"\Anot a \.keras file that loads here: [^\n]+\Z"):
        rebuilt(data, seed=0)


@pytest.mark.parametrize(
    ("shape", "classes", "line"),
    [
        ((9, 9, 3), 5, r"does not work with images of \(9, 9, 3\): [^\n]+\Z"),
        ((8, 8, 1), 5, r"does not work with images of \(8, 8, 1\): [^\n]+\Z"),
        ((8, 8, 3), 10, r"must output logits of shape \(None, 10\), got \(None, 5\)\Z"),
    ],
)
def test_a_file_with_another_input_shape_gets_one_line(shape, classes, line, tmp_path):
    keras.Sequential([*adapted(), layers.Dense(5)]).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match=line):
        build_from_file(tmp_path / "model.keras", shape, classes, seed=0)


def test_a_softmax_that_cannot_be_removed_is_refused(tmp_path):
    ends = [layers.Dense(5, activation="softmax"), layers.Reshape((5,))]
    keras.Sequential([*adapted(), *ends]).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="must output logits, got probabilities"):
        build_from_file(tmp_path / "model.keras", (8, 8, 3), 5, seed=0)


def test_a_missing_model_file_gets_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"cannot read model .*none\.keras: No such file or directory; give the path"):
        build_from_file(tmp_path / "none.keras", (8, 8, 3), 5, seed=0)
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(ModelError, match=r"\Amodel .*text\.keras: not a \.keras file that loads here: [^\n]+\Z"):
        build_from_file(tmp_path / "text.keras", (8, 8, 3), 5, seed=0)
