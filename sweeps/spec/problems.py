"""Say in one line what is wrong with the values of a spec: the key, what was given, what is allowed."""

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return the first thing that is wrong, as one line; an unknown key before all else.

    Args:
        error: what pydantic found.
        model: of the table that was checked; its keys are what is allowed.
    """
    # An unknown key is usually a misspelt one: say that before what is then missing.
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problem = problems[0]
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown key {key!r}; {_allowed(problem['loc'], model)}"
    if problem["type"] == "missing":
        return f"{key} is missing"
    text = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{key}: got {_shown(problem['input'])}; allowed: {text}" if key else text


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _allowed(location: Sequence[str | int], model: type[BaseModel]) -> str:
    """Return what may stand there; before it the key that was probably meant: a near name, or this one elsewhere."""
    table, (*place, last) = model, map(str, location)
    for name in place:
        (table,) = _tables(table.model_fields[name].annotation)
    prefix = "".join(f"{name}." for name in place)
    near = [f"{prefix}{one}" for one in get_close_matches(last, table.model_fields, n=1)]
    meant = near or [key for key in _keys(model) if key.rpartition(".")[2] == last]
    hint = f"did you mean {' or '.join(meant[:2])}? " if meant else ""
    return f"{hint}allowed beside it: {', '.join(table.model_fields)}"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        for table in _tables(field.annotation):
            yield from _keys(table, f"{prefix}{name}.")


def _tables(annotation: Any) -> list[type[BaseModel]]:
    """Return the table that a key with this annotation holds: none for a plain value."""
    return [one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, BaseModel)]
