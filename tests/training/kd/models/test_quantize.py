"""kd.models.quantize: real conversions, scored against the float model, and models that cannot be converted."""

import keras
import numpy as np
import pytest
from keras import layers

from kd.data.datasets import Split
from kd.models.files import to_bytes
from kd.models.named import build
from kd.models.quantize import quantize, score

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (200, 8, 8, 1), dtype=np.uint8)


def labelled(model):
    """Return the images labelled by the model itself: its accuracy is 1, and another's is agreement."""
    return Split(IMAGES, model.predict_on_batch(IMAGES).argmax(axis=-1))


def arithmetic(litert):
    """Return the types of the results of all convolutions and matrix products."""
    import tensorflow as tf

    # Without its delegate, which hides the operations
    kind = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with pytest.warns(UserWarning, match="deprecated"):
        interpreter = tf.lite.Interpreter(model_content=litert, experimental_op_resolver_type=kind)
    tensors = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    products = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    operations = [op for op in interpreter._get_ops_details() if op["op_name"] in products]
    (images,) = interpreter.get_input_details()
    return images["dtype"], [tensors[index] for op in operations for index in op["outputs"]]


def test_a_student_quantized_to_int8_predicts_the_same():
    model = build("keras-student", (8, 8, 1), 3, seed=1)
    data = to_bytes(model)
    litert = quantize(data, IMAGES)
    assert arithmetic(litert) == (np.uint8, [np.int8] * 3)
    assert score(litert, labelled(model)) > 0.95
    wrong = Split(IMAGES, (labelled(model).labels + 1) % 3)
    assert score(litert, wrong) < 0.05
    assert len(litert) < len(data) / 2


def test_a_network_with_built_in_resizing_is_quantized():
    images = keras.Input((8, 8, 1))
    x = layers.Resizing(24, 24)(layers.Concatenate()([images] * 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    inner = keras.Input((24, 24, 3))
    network = keras.Model(inner, layers.ReLU(6)(layers.DepthwiseConv2D(3)(layers.Conv2D(8, 3, strides=2)(inner))))
    model = keras.Model(images, layers.Dense(3)(layers.GlobalAveragePooling2D()(network(x, training=False))))
    litert = quantize(to_bytes(model), IMAGES)
    assert arithmetic(litert) == (np.uint8, [np.int8] * 3)
    assert score(litert, labelled(model)) > 0.9
