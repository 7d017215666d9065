"""kd.teachers.names: every way to name a teacher, and the errors for wrong names."""

import pytest

from kd.baselines.methods import METHODS
from kd.config import MODEL_NAMES
from kd.errors import ModelError
from kd.teachers.names import FORMS, Teacher, parse_teacher


@pytest.mark.parametrize("name", [*MODEL_NAMES, "my.models:build", "models:resnet_32"])
def test_a_model_to_be_trained_has_no_method(name):
    assert parse_teacher(name) == Teacher(name=name, method=None)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("pretrained:MobileNetV2", "mobilenetv2"),
        ("pretrained:mobilenetv2", "mobilenetv2"),
        ("pretrained:EfficientNet-Lite0", "efficientnet-lite0"),
        ("pretrained:MobileNetV2-tuned", "mobilenetv2-tuned"),
        ("baseline:autokeras", "autokeras"),
    ],
)
def test_a_pretrained_or_baseline_teacher_is_made_by_a_comparison_method(name, method):
    assert parse_teacher(name) == Teacher(name=name, method=method)
    assert method in METHODS


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("cnn-smal", f"no teacher 'cnn-smal'; did you mean 'cnn-small'? Allowed: {FORMS}"),
        ("", f"no teacher ''. Allowed: {FORMS}"),
        ("autokeras", f"no teacher 'autokeras'. Allowed: {FORMS}"),
        ("baseline:autokera", "no baseline to teach 'autokera'; did you mean 'autokeras'? Allowed: autokeras"),
        ("baseline:mobilenetv2", "no baseline to teach 'mobilenetv2'. Allowed: autokeras"),
        ("my models:build", f"no teacher 'my models:build'. Allowed: {FORMS}"),
        (":build", f"no teacher ':build'. Allowed: {FORMS}"),
        ("module:", f"no teacher 'module:'. Allowed: {FORMS}"),
        ("a:b:c", f"no teacher 'a:b:c'. Allowed: {FORMS}"),
    ],
)
def test_a_wrong_name_gives_a_one_line_error_with_the_allowed_names(name, line):
    with pytest.raises(ModelError) as caught:
        parse_teacher(name)
    assert str(caught.value) == line


def test_a_misspelt_network_gets_a_suggestion_and_all_names():
    with pytest.raises(ModelError, match=r"^no pretrained network 'mobilenetv4'; did you mean 'mobilenetv2'\? .*vgg16"):
        parse_teacher("pretrained:MobileNetV4")
