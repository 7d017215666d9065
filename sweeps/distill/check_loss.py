"""Add the command check-loss, which classifies a user's distillation loss."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli import options
from sweeps.cli.text import Format, render
from sweeps.errors import SpecError
from sweeps.extensions import require
from sweeps.terminal import wrapped

if TYPE_CHECKING:
    from kd.losses.check import Checked, Same

app = typer.Typer()
NOT_RIGHT = 3  # the exit code for a loss that is faulty, other or unknown
_MOST_CLASSES = 10_000  # the gradient takes a call for each logit of three images
_COLUMNS, _LABEL = 80, 10


@app.command("check-loss")
def check_loss(
    name: Annotated[str, typer.Argument(metavar="LOSS", help="./file.py:loss or package.module:loss")],
    arg: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=NAME", help="Argument of a role, teacher=logits_t, or a value, reduction=mean."),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="T that the code uses, or to compare at.")
    ] = None,
    alpha: Annotated[float | None, typer.Option(help="Alpha that the code uses, or to compare at.")] = None,
    classes: Annotated[
        int | None, typer.Option(metavar="N", help="Number of classes, if the loss is for a fixed number.")
    ] = None,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Images per batch, if the loss depends on it.")] = 128,
    framework: Annotated[
        str | None, typer.Option(metavar="NAME", help="torch, jax, keras, tensorflow or numpy (default: detected).")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Stop the code after this time.")] = 120.0,
    form: options.Form = Format.table,
) -> None:
    """Say which distillation loss your code computes.

    Calls it on random logits and compares it with known losses. Arguments have the roles student, teacher, labels,
    temperature and alpha; usual names are recognised. Exits with 0 if this project has the same loss, at the T and
    alpha that are printed, and with 3 otherwise.

    Example: kd-sweeps check-loss ./train.py:loss_fn_kd --alpha 0.9
    """
    require("train", "check-loss")
    from kd.errors import ModelError, SubprocessFailed
    from kd.losses.check import Request, check_in_child
    from kd.losses.frameworks import FRAMEWORKS
    from kd.tools.processes import run_in_subprocess

    _check("--temperature", temperature, temperature is None or 0 < temperature < math.inf, "more than 0")
    _check("--alpha", alpha, alpha is None or 0 <= alpha <= 1, "0 to 1")
    _check("--classes", classes, classes is None or 2 <= classes <= _MOST_CLASSES, f"2 to {_MOST_CLASSES:,}")
    _check("--batch-size", batch_size, batch_size >= 1, "1 or more")
    _check("--timeout", timeout, timeout > 0, "more than 0")
    _check("--framework", framework, framework in (None, *FRAMEWORKS), ", ".join(FRAMEWORKS))
    items = [item.partition("=") for item in arg or ()]
    for key, equals, value in items:
        _check("--arg", key + equals + value, bool(key and value), "ROLE=NAME or NAME=VALUE, as teacher=logits_t")
    request = Request(name, {key: value for key, _, value in items}, framework, temperature, alpha, classes, batch_size)
    try:
        checked: Checked = run_in_subprocess(check_in_child, request, on_step=lambda: None, seconds=timeout)
    except SubprocessFailed as error:
        is_late = str(error).startswith("stopped")
        raise ModelError(f"loss {name!r}: {error}{'; longer: --timeout SECONDS' if is_late else ''}") from error
    print("\n".join(lines(checked)) if form is Format.table else render(asdict(checked), form))
    raise typer.Exit(0 if checked.verdict == "right" else NOT_RIGHT)


def _check(option: str, value: object, is_right: bool, allowed: str) -> None:
    if not is_right:
        raise SpecError(f"{option}: got {value}; allowed: {allowed}")


def lines(checked: "Checked") -> list[str]:
    """Return the classification of a loss as lines of at most 80 columns; the first is the verdict."""
    return [line for label, text in _rows(checked) for line in _wrapped(label, text)]


def _wrapped(label: str, text: str) -> list[str]:
    first = label if label.endswith(": ") else f"{label:<{_LABEL}}"
    return wrapped(text, _COLUMNS, first=first, then=" " * _LABEL)


def _rows(checked: "Checked") -> Iterator[tuple[str, str]]:
    faults = list(checked.faults.values())
    yield (
        f"{checked.verdict.upper()}: ",
        {
            "right": f"the loss {checked.loss} of this project",
            "faulty": faults[0] if faults else "",
            "other": "no loss of this project",
            "unknown": "none of the known forms",
        }[checked.verdict],
    )
    for text in faults[1:]:
        yield "also", text
    if checked.formula:
        yield "it is", checked.formula
    if checked.weighs:
        rule = "as here" if checked.weighs == "labels" else "here it weighs the labels"
        yield "alpha", f"weighs the {checked.weighs}; {rule}"
    yield "here", "no T and alpha give the same loss" if checked.same is None else same(checked.same)
    if checked.same is not None and abs(checked.same.factor - 1) > 1e-3:
        yield (
            "",
            f"times {checked.same.factor:.4g}: Adam does not see it; SGD needs {checked.same.factor:.4g} times the"
            " learning rate here",
        )
    for note in checked.notes:
        yield "note", note
    gradient = "" if checked.gradient_difference is None else f", the gradient's {checked.gradient_difference:.0e}"
    yield (
        "checked",
        f"{checked.values:,} values, {checked.framework}; largest difference {checked.difference:.0e}{gradient}",
    )


def same(point: "Same") -> str:
    """Return the point of this project that is the same as the user's, and the user's."""
    own = "".join(f", {name} {value:.4g}" for name, value in point.own.items())
    theirs = [
        f"{name} {value:.4g}"
        for name, value in (("T", point.of_temperature), ("alpha", point.of_alpha))
        if value is not None
    ]
    sizes = (("classes", point.of_classes), ("images", point.of_images))
    theirs += [f"{number} {noun}" for noun, number in sizes if number is not None]
    of = f" for its {', '.join(theirs)}" if theirs else ""
    return f"T {point.temperature:.4g}, alpha {point.alpha:.4g}{own}{of}"
