"""What a spec sent over HTTP may contain, for arbitrary input."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweeps.contrib.server.problems import check_allowed
from sweeps.distill.presets import PRESETS
from sweeps.errors import NotAllowed, SpecError
from sweeps.spec.model import Spec, override, parse
from sweeps.usecases.create import SpecRequest, preset

TINY = preset("tiny")


def _keys(values: dict[str, Any], before: str = "") -> list[str]:
    leaves = []
    for key, value in values.items():
        leaves.append(before + key)
        leaves += _keys(value, f"{before}{key}.") if isinstance(value, dict) else []
    return leaves


KEYS = st.one_of(
    st.sampled_from(_keys(TINY.as_dict())), st.text(max_size=8), st.sampled_from(["target2.x", "a..b", "."])
)
NAMED = st.sampled_from(
    ["/etc/passwd", "x.npz", "logits:x", "os:system", "./x.py:f", "../x", "mnist", "cnn-small", "qmc", "\ud800"]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), NAMED),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=4,
)


def checked(make: Any) -> None:
    """Check that the result is a spec of names that the product defines, or a refusal in one line."""
    try:
        spec: Spec = make()
        check_allowed(spec, allow_code=False)
    except (SpecError, NotAllowed):
        return
    parts = [spec.role(role) for role in spec.roles]
    names = [spec.search.sampler, *(name for part in parts for name in (part.dataset, part.teacher, part.student))]
    for bad in ("/", ".npz", "logits:", "os:"):
        assert bad not in " ".join(names)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_arbitrary_changes_give_a_spec_of_known_names_or_one_line(changes: dict[str, Any]) -> None:
    checked(lambda: SpecRequest(TINY, changes).spec())


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.one_of(st.sampled_from(list(Spec.model_fields)), st.text(max_size=5)), VALUES, max_size=4))
def test_an_arbitrary_document_is_a_valid_spec_or_one_line(values: dict[str, Any]) -> None:
    checked(lambda: parse(values, origin="spec"))
    checked(lambda: parse(TINY.as_dict() | values, origin="spec"))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_allowed(name: str) -> None:
    check_allowed(preset(name), allow_code=False)


FILES = [
    *(("source.dataset", name) for name in ("./x.py:load", "os:listdir", "/etc", "/etc/passwd", "../../data.npz")),
    *(("target.dataset", name) for name in ("data.npz", "~root/data.npz", "file:///etc/passwd")),
    ("target2", {"dataset": "x.npz", "images": 100, "teacher": "cnn-small", "teacher_epochs": 1, "epochs": 1}),
    *(("source.teacher", name) for name in ("./x.py:build", "logits:/etc/passwd", "logits:x.npz", "pretrained:../x")),
    *(("target.student", name) for name in ("/a/x.py:build", "~/x.py:build", "logits:x.npz", "../student")),
    ("search.sampler", "./x.py:make"),
    ("code", {"/etc/passwd": "0" * 64}),
]


@pytest.mark.parametrize(("key", "value"), FILES)
def test_data_from_a_file_folder_or_function_is_refused_even_with_allow_code(key: str, value: Any) -> None:
    with pytest.raises(NotAllowed, match=r"; (no request names a file|allowed over HTTP: mnist)") as error:
        check_allowed(override(TINY, {key: value}), allow_code=True)
    assert "\n" not in str(error.value)


CODE = [
    ("source.teacher", "os:system"),
    ("target.student", "json.tool:main"),
    ("search.sampler", "os:abort"),
    ("source.student", "pretrained.evil:run"),
    ("source.student", "mine.nets:build"),
]


@pytest.mark.parametrize(("key", "value"), CODE)
def test_code_is_refused_without_allow_code(key: str, value: str) -> None:
    spec = override(TINY, {key: value})
    check_allowed(spec, allow_code=True)
    with pytest.raises(NotAllowed, match="Python code"):
        check_allowed(spec, allow_code=False)
