"""kd.models.custom: errors of a user's model, each in one line."""

import importlib
import resource
import sys
from pathlib import Path

import keras
import pytest

from kd.errors import ModelError, NotHere
from kd.models import custom
from kd.models.custom import build_users, check_users, load_users
from kd.models.named import build

NEXT_SECOND_S = custom._NEXT_SECOND_S
OWN = """
import itertools
import random
import resource
import sys
import time
import keras
import numpy as np
from keras import layers

@keras.saving.register_keras_serializable(package="theirs")
class Twice(layers.Layer):
    def call(self, x):
        return 2.0 * x

@keras.saving.register_keras_serializable(package="theirs")
class Noisy(layers.Layer):
    def call(self, x, training=None):
        return x + keras.random.normal((1,)) if training else x

@keras.saving.register_keras_serializable(package="theirs")
class Clocked(layers.Layer):
    def call(self, x):
        return x + keras.random.normal((1,), seed=time.time_ns() % 2**31)

@keras.saving.register_keras_serializable(package="theirs")
class Seeded(layers.Layer):
    def __init__(self, **config):
        super().__init__(**config)
        self.generator = keras.random.SeedGenerator()
    def call(self, x, training=None):
        return x + keras.random.normal((1,), seed=self.generator) if training else x

@keras.saving.register_keras_serializable(package="theirs")
class Untrainable(layers.Layer):
    def call(self, x, training=None):
        return x / {}["nothing"] if training else x

class Plain(layers.Layer):
    def call(self, x):
        return x

@keras.saving.register_keras_serializable(package="theirs")
class Holds(Plain):
    def __init__(self, something):
        super().__init__()
        self.something = something

@keras.saving.register_keras_serializable(package="theirs")
class Forgets(layers.Layer):
    def build(self, shape):
        self.scale = keras.random.normal((shape[-1],))
    def call(self, x):
        return self.scale * x

@keras.saving.register_keras_serializable(package="theirs")
class Registered(keras.Model):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes
        self.flat, self.dense = layers.Flatten(), layers.Dense(classes)
    def call(self, x):
        return self.dense(self.flat(x))
    def get_config(self):
        return {"classes": self.classes}

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

def nested_own_layer(input_shape, classes):
    return build(input_shape, classes, keras.Sequential([keras.Input(input_shape), Twice()]))

def plain(input_shape, classes):
    return build(input_shape, classes, Twice(), Plain())

def nested(input_shape, classes):
    inner = keras.Sequential([keras.Input(input_shape), Plain()])
    return build(input_shape, classes, inner)

def local(input_shape, classes):
    @keras.saving.register_keras_serializable(package="theirs")
    class Local(Plain):
        pass
    return build(input_shape, classes, Local())

def forgets(input_shape, classes):
    return build(input_shape, classes, Forgets())

def registered(input_shape, classes):
    return Registered(classes)

def holds(input_shape, classes):
    return build(input_shape, classes, Holds(object()))

def subclassed(input_shape, classes):
    return Subclassed(classes)

def exits(input_shape, classes):
    sys.exit(3)

def too_wide(input_shape, classes):
    return build(input_shape, classes + 1)

def other_images(input_shape, classes):
    return build((5, 5, 1), classes)

def breaks(input_shape, classes):
    raise KeyError("depth")

def no_model(input_shape, classes):
    return "a model"

def of_the_second(input_shape, classes):
    keras.utils.set_random_seed(int(time.time()))
    return build(input_shape, classes)

def of_no_seed(input_shape, classes):
    return build(input_shape, classes, bias_initializer=keras.initializers.Constant(np.random.default_rng().normal()))

_counted = itertools.count()

def of_the_count(input_shape, classes):
    return build(input_shape, classes, kernel_initializer=keras.initializers.GlorotUniform(seed=next(_counted)))

def of_the_seed(input_shape, classes):
    bias = keras.initializers.Constant(random.random() + np.random.normal())
    return build(input_shape, classes, layers.Dropout(0.5), bias_initializer=bias)

def draws(input_shape, classes):
    drawing = [layers.RandomFlip(), layers.RandomRotation(0.1), layers.GaussianNoise(0.1), layers.BatchNormalization()]
    return build(input_shape, classes, *drawing, layers.SpatialDropout2D(0.5), Seeded())

def noisy(input_shape, classes):
    return build(input_shape, classes, Noisy())

def clocked(input_shape, classes):
    return build(input_shape, classes, Clocked())

def untrainable(input_shape, classes):
    return build(input_shape, classes, Untrainable())

def lowers(input_shape, classes):
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    open("/dev/null")

def other(shape, *, classes):
    raise AssertionError("it cannot be called so, and is not")

answer = 42

def full(input_shape, classes):
    raise OSError(28, "No space left on device")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "what_a_user_wrote.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "what_a_user_wrote", raising=False)
    monkeypatch.setattr(custom, "_NEXT_SECOND_S", 0)  # only one test needs the pause
    return "what_a_user_wrote"


TAKEN = ["build", "partly_frozen", "own_layer", "nested_own_layer", "registered", "of_the_seed", "draws"]


@pytest.mark.parametrize("function", TAKEN)
def test_a_model_that_trains_and_can_be_saved_is_accepted(own: str, function: str) -> None:
    before = set(keras.saving.get_custom_objects())
    check_users(f"{own}:{function}", (8, 8, 1), 3)
    assert before <= set(keras.saving.get_custom_objects())


BUILT = [
    ("frozen", "has nothing to train: all 2 weights are frozen; set trainable = True"),
    ("two", "must have one output, the logits; got 2"),
    ("half", "must output float32, got float16: give its last layer dtype='float32'"),
    ("softmax", "must output logits, got probabilities"),
    ("softmax_layer", "must output logits, got probabilities"),
    ("sigmoid", "must output logits, got probabilities"),
    ("too_wide", r"must output logits of shape \(None, 3\), got \(None, 4\)"),
    ("other_images", r"does not work with images of \(8, 8, 1\)"),
    ("breaks", ".*KeyError: 'depth'"),
    ("no_model", "must return a keras.Model, got str"),
    ("exits", r"calls sys.exit\(3\); let it return a keras.Model"),
    ("other", r"is called as build\(input_shape, classes\), but takes \(shape, \*, classes\)"),
    ("answer", r"must be a function build\(input_shape, classes\), got int"),
]
DECORATOR = r"@keras\.saving\.register_keras_serializable\(\)"
SAVED = "cannot be saved and loaded again:"
SEEDED = "has different initial weights when it is rebuilt with the same seed"
NOISY = "gives different logits in training though all of its variables are the same"
CHECKED = [
    ("lambda_layer", f"{SAVED} its layer 'lambda.*' is a keras.Lambda; build it from Keras' layers"),
    ("plain", f"{SAVED} its layer 'plain.*' is a what_a_user_wrote.Plain; write {DECORATOR} above class Plain$"),
    ("nested", f"{SAVED} its layer 'plain.*' is a what_a_user_wrote.Plain; write {DECORATOR} above class Plain$"),
    ("local", f"{SAVED} its layer 'local.*Local; write {DECORATOR} above class Local, outside of any function$"),
    ("holds", rf"{SAVED} NotImplementedError: Object Holds was created .* must override `get_config\(\)`"),
    ("subclassed", f"{SAVED} its layer 'subclassed.*Subclassed; write {DECORATOR} above class Subclassed$"),
    ("forgets", "gives different logits when it is saved and loaded again: make every weight"),
    ("of_the_second", SEEDED),
    ("of_no_seed", SEEDED),
    ("of_the_count", SEEDED),
    ("noisy", NOISY),
    ("clocked", NOISY),
    ("untrainable", "does not work in training: .*nothing"),
]


@pytest.mark.parametrize(("function", "message"), BUILT)
def test_a_model_that_cannot_be_trained_is_refused_in_one_line_wherever_it_is_built(
    own: str, function: str, message: str
) -> None:
    with pytest.raises(ModelError, match=f"^model 'what_a_user_wrote:{function}' {message}") as caught:
        build_users(f"{own}:{function}", (8, 8, 1), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("function", "message"), CHECKED)
def test_a_model_that_a_sweep_could_not_use_is_refused_in_one_line(
    own: str, function: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if function == "of_the_second":
        monkeypatch.setattr(custom, "_NEXT_SECOND_S", NEXT_SECOND_S)
    before = set(keras.saving.get_custom_objects())
    with pytest.raises(ModelError, match=message) as caught:
        check_users(f"{own}:{function}", (8, 8, 1), 3)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 450
    assert before <= set(keras.saving.get_custom_objects()), "registrations of others must stay"


def test_a_model_that_lowers_the_limit_of_open_files_is_refused_and_the_limit_restored(own: str) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(ModelError, match=rf"lowers how many files its process may open, from {before[0]} to 0: leave"):
        build_users(f"{own}:lowers", (8, 8, 1), 3)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


def test_a_saved_model_loads_once_the_module_of_its_builder_is_imported(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{own}:own_layer"
    build_users(name, (8, 8, 1), 3).save(tmp_path / "model.keras")
    saved = (tmp_path / "model.keras").read_bytes()
    monkeypatch.delitem(keras.saving.get_custom_objects(), "theirs>Twice")  # as in a new process
    monkeypatch.delitem(sys.modules, own)
    with pytest.raises(ModelError, match=r"not a \.keras file that loads here"):
        load_users(saved, "")
    assert load_users(saved, name).output_shape == (None, 3)


def test_a_model_whose_module_was_changed_since_is_named_with_its_builder_and_its_class(
    own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_users(f"{own}:own_layer", (8, 8, 1), 3).save(tmp_path / "model.keras")
    saved = (tmp_path / "model.keras").read_bytes()
    monkeypatch.delitem(keras.saving.get_custom_objects(), "theirs>Twice")
    monkeypatch.delitem(sys.modules, own)
    (tmp_path / f"{own}.py").write_text("def own_layer(input_shape, classes): ...")
    importlib.invalidate_caches()
    with pytest.raises(ModelError) as caught:
        load_users(saved, f"{own}:own_layer")
    began = (
        "the model that 'what_a_user_wrote:own_layer' built cannot be loaded here: it holds what_a_user_wrote.Twice;"
    )
    assert str(caught.value).startswith(f"{began} was its module changed since? ")
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_not_the_fault_of_the_model(own: str) -> None:
    with pytest.raises(NotHere, match=r"^model 'what_a_user_wrote:full' finds no room on this machine: ") as caught:
        build_users(f"{own}:full", (8, 8, 1), 3)
    assert not isinstance(caught.value, ModelError)


@pytest.mark.parametrize("name", ["os:abort", "os:_exit", "sys:exit"])
def test_a_function_that_takes_other_arguments_is_never_called(name: str) -> None:
    with pytest.raises(ModelError, match=r"is called as build\(input_shape, classes\), but takes \("):
        build_users(name, (8, 8, 1), 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_here:build", "No module named.*PYTHONPATH"),
        ("what_a_user_wrote:nothing", "has no attribute 'nothing'"),
        (":build", ""),
    ],
)
def test_a_failed_import_is_one_line(own: str, name: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"cannot import.*{message}") as caught:
        build(name, (8, 8, 1), 3, seed=0)
    assert "\n" not in str(caught.value)
