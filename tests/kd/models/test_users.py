"""kd.models.users: what is wrong with a user's model, in one line."""

from pathlib import Path

import keras
import pytest

from kd.errors import ModelError
from kd.models.users import build_users, check_users

pytestmark = pytest.mark.training

OWN = """
import sys
import keras
from keras import layers

@keras.saving.register_keras_serializable(package="theirs")
class Twice(layers.Layer):
    def call(self, x):
        return 2.0 * x

class Holds(layers.Layer):
    def __init__(self, something):
        super().__init__()
        self.something = something
    def call(self, x):
        return x

class Subclassed(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.flat, self.dense = layers.Flatten(), layers.Dense(classes)
    def call(self, x):
        return self.dense(self.flat(x))

def build(input_shape, classes, *more, **of_dense):
    return keras.Sequential(
        [keras.Input(input_shape), *more, layers.Flatten(), layers.Dense(classes, **of_dense)], name="theirs"
    )

def partly_frozen(input_shape, classes):
    frozen = layers.Conv2D(2, 3)
    frozen.trainable = False
    return build(input_shape, classes, frozen)

def frozen(input_shape, classes):
    model = build(input_shape, classes)
    model.trainable = False
    return model

def two(input_shape, classes):
    images = keras.Input(input_shape)
    flat = layers.Flatten()(images)
    return keras.Model(images, [layers.Dense(classes)(flat), layers.Dense(classes)(flat)])

def half(input_shape, classes):
    return build(input_shape, classes, dtype="float16")

def softmax(input_shape, classes):
    return build(input_shape, classes, activation="softmax")

def softmax_layer(input_shape, classes):
    return keras.Sequential([*build(input_shape, classes).layers, layers.Softmax()])

def sigmoid(input_shape, classes):
    return build(input_shape, classes, activation="sigmoid")

def lambda_layer(input_shape, classes):
    return build(input_shape, classes, layers.Lambda(lambda x: x))

def own_layer(input_shape, classes):
    return build(input_shape, classes, Twice())

def nested(input_shape, classes):
    inner = keras.Sequential([keras.Input(input_shape), Twice()])
    return build(input_shape, classes, inner)

def holds(input_shape, classes):
    return build(input_shape, classes, Holds(object()))

def subclassed(input_shape, classes):
    return Subclassed(classes)

def exits(input_shape, classes):
    sys.exit(3)

def other(shape, *, classes):
    raise AssertionError("it cannot be called so, and is not")

answer = 42
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "what_a_user_wrote.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "what_a_user_wrote"


@pytest.mark.parametrize("function", ["build", "partly_frozen"])
def test_a_model_that_trains_and_can_be_kept_is_taken(own: str, function: str) -> None:
    before = dict(keras.saving.get_custom_objects())
    check_users(f"{own}:{function}", (8, 8, 1), 3)
    assert before.items() <= keras.saving.get_custom_objects().items()


BUILT = [
    ("frozen", "has nothing to train: all of its 2 weights are frozen; set trainable = True"),
    ("two", "must have one output, the logits; got 2"),
    ("half", "must output float32, got float16: give its last layer dtype='float32'"),
    ("softmax", "must output logits, got probabilities"),
    ("softmax_layer", "must output logits, got probabilities"),
    ("sigmoid", "must output logits, got probabilities"),
    ("exits", r"calls sys.exit\(3\); let it return a keras.Model"),
    ("other", r"is called as build\(input_shape, classes\), but takes \(shape, \*, classes\)"),
    ("answer", r"must be a function build\(input_shape, classes\), got int"),
]
KEPT = [
    ("lambda_layer", "its layer 'lambda.*' is a keras.Lambda; build it of Keras' own layers, no Lambda"),
    ("own_layer", "its layer 'twice.*' is a what_a_user_wrote.Twice; build it of Keras' own layers"),
    ("nested", "its layer 'twice.*' is a what_a_user_wrote.Twice"),
    ("holds", "its layer 'holds.*' is a what_a_user_wrote.Holds"),
    ("subclassed", "its layer 'subclassed.*' is a what_a_user_wrote.Subclassed"),
]


@pytest.mark.parametrize(("function", "message"), BUILT)
def test_a_model_that_cannot_be_trained_is_refused_in_one_line_wherever_it_is_built(
    own: str, function: str, message: str
) -> None:
    with pytest.raises(ModelError, match=f"^model 'what_a_user_wrote:{function}' {message}") as caught:
        build_users(f"{own}:{function}", (8, 8, 1), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("function", "message"), KEPT)
def test_a_model_that_could_not_be_measured_later_is_refused_in_one_line(own: str, function: str, message: str) -> None:
    before = dict(keras.saving.get_custom_objects())
    with pytest.raises(ModelError, match=f"cannot be saved and loaded again: {message}") as caught:
        check_users(f"{own}:{function}", (8, 8, 1), 3)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250
    assert before.items() <= keras.saving.get_custom_objects().items(), "what others registered is still there"


@pytest.mark.parametrize("name", ["os:abort", "os:_exit", "sys:exit"])
def test_a_function_that_takes_other_arguments_is_never_called(name: str) -> None:
    with pytest.raises(ModelError, match=r"is called as build\(input_shape, classes\), but takes \("):
        build_users(name, (8, 8, 1), 3)


def test_a_module_that_fails_while_it_is_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wont_start.py").write_text("raise SystemExit('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"cannot import model 'wont_start:build': SystemExit: no licence\. Write"):
        build_users("wont_start:build", (8, 8, 1), 3)
