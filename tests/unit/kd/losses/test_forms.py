"""The forms of a loss, and the probes that distinguish every pair of them."""

import numpy as np
import pytest

from kd.losses.builtin import LOSSES
from kd.losses.fitting import SAME, SIZES, probes
from kd.losses.forms import FAULTS, LABELS, Form, Probes, terms


def _same(batches: list[tuple[Probes, float]]) -> set[tuple[str, str]]:
    """Return the pairs of forms of which one explains the other in all batches."""
    forms = [form for form in terms() if form.name]
    is_same = np.ones((len(forms), len(forms)), dtype=bool)
    for each in batches:
        parts = [np.stack(form.parts(*each), axis=-1) for form in forms]
        values = np.stack([part @ np.arange(1, part.shape[1] + 1) for part in parts], axis=-1)
        for number, part in enumerate(parts):
            rest = values - part @ np.linalg.lstsq(part, values, rcond=1e-12)[0]
            is_same[:, number] &= np.abs(rest).max(axis=0) / np.abs(values).max(axis=0) < SAME
    rows, columns = np.nonzero(is_same & ~np.eye(len(forms), dtype=bool))
    return {(_text(forms[row]), _text(forms[column])) for row, column in zip(rows, columns, strict=True)}


def _text(form: Form) -> str:
    return f"{form.formula} {', '.join(form.faults)}".strip()


def test_ten_classes_distinguish_every_pair_of_forms_at_two_temperatures_but_not_at_t_1_alone() -> None:
    same = _same([(probes(4, 10), 1.0)])
    assert ("KL(teacher_T || student_T)", "KL(teacher || student) t-ignored") in same
    plain = {text.replace("_T", "").partition(" t-")[0] for pair in same for text in pair}
    assert len(plain) < len({text for pair in same for text in pair})
    assert _same([(probes(4, 10), 1.0), (probes(4, 10), 4.0)]) == set()


def test_two_classes_do_not_distinguish_every_pair_of_forms() -> None:
    same = _same([(probes(3, 2), 4.0)])
    dkd = next(_text(form) for form in terms() if form.name == "dkd")
    assert ("KL(teacher_T || student_T)", dkd) in same, "with two classes, the other class is all other classes"


def test_the_probabilities_of_the_probes_are_too_large_for_an_epsilon_to_show() -> None:
    for size in SIZES:
        batch = probes(*size)
        for logits in (batch.teacher, batch.student):
            odds = np.exp(logits)
            assert (odds / odds.sum(axis=-1, keepdims=True)).min() > 1e-5
        assert set(np.unique(batch.labels)) <= set(range(size[1]))


def test_every_loss_of_this_project_has_a_form_and_every_fault_a_sentence() -> None:
    assert {form.name for form in terms() if not form.faults} >= set(LOSSES)
    assert {fault for form in (*LABELS, *terms()) for fault in form.faults} <= set(FAULTS)
    assert max(map(len, FAULTS.values())) < 120


@pytest.mark.parametrize("name", LOSSES)
def test_parts_are_scalars_for_each_batch(name: str) -> None:
    form = next(form for form in terms() if form.name == name)
    parts = form.parts(probes(4, 10), 4.0)
    assert len(parts) == max(1, len(LOSSES[name].parameters) + (name == "nkd"))
    assert {part.shape for part in parts} == {(8,)}
