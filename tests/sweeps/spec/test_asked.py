"""What a user asks for becomes one spec: datasets first, then models, and what is changed by key has the last word."""

from sweeps.spec.asked import Asked
from sweeps.spec.presets import on, preset


def test_nothing_is_asked_for_until_something_is() -> None:
    assert Asked().is_nothing
    assert Asked().spec() == preset("quick")
    assert not any(one.is_nothing for one in (Asked(preset("quick")), Asked(targets=["digits"]), Asked(student="mlp")))


def test_models_are_those_of_every_dataset_and_a_key_says_more() -> None:
    asked = Asked(preset("tiny"), {"target.teacher": "mlp-800"}, "digits-rgb", ["digits"], "cnn-small", "mlp-800")
    made = asked.spec()
    placed = on(preset("tiny"), source="digits-rgb", targets=["digits"])
    assert [made.role(role).dataset for role in made.roles] == [placed.role(role).dataset for role in placed.roles]
    assert (made.source.teacher, made.target.teacher) == ("cnn-small", "mlp-800")
    assert {made.role(role).student for role in made.roles} == {"mlp-800"}
