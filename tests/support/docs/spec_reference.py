"""The spec reference, read from the pydantic models: keys, types, defaults, ranges, meanings."""

import json
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from kd.baselines.applications import APPLICATIONS, TUNED
from sweeps.custom.spec import CustomTable, ScoreTable
from sweeps.distill.presets import PRESETS
from sweeps.distill.spec import Baselines, KdSpec
from sweeps.spec.model import Spec
from sweeps.spec.tables import Confirm, SpecModel, Transfer


def markdown() -> str:
    """Return the keys at the top of a spec, then one section for each of its tables."""
    fields = _fields(KdSpec) | {"trainer": Spec.model_fields["trainer"]}  # unused in KdSpec
    plain = {name: field for name, field in fields.items() if _model(field.annotation) is None}
    tables: dict[type[SpecModel], list[str]] = {}
    for name, field in fields.items():
        if (model := _model(field.annotation)) is not None:
            tables.setdefault(model, []).append(name)
    lines = ["## Keys at the top\n", *_table(plain)]
    for model, names in tables.items():
        lines += [f"## {', '.join(f'[{name}]' for name in names)}\n", _first_paragraph(model), ""]
        lines += _table(_fields(model))
    lines += ['## [trainer] with `kind = "custom"`\n', _first_paragraph(CustomTable), ""]
    lines += [*_table(_fields(CustomTable)), "## [trainer.score]\n", _first_paragraph(ScoreTable), ""]
    lines += _table(_fields(ScoreTable))
    return "\n".join(lines)


def _fields(model: type[SpecModel]) -> dict[str, FieldInfo]:
    return {name: model.model_fields[name] for name in model.names()}


def presets() -> str:
    """Return the presets as a table, one row each."""
    lines = [
        "| preset | source -> target (training images) | search | confirm | transfer | margin | baselines |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, spec in PRESETS.items():
        data = " -> ".join(f"{part.dataset} {part.images:,}" for part in map(spec.role, spec.roles))
        arms = " and ".join(str(len(spec.arms(role))) for role in spec.roles)
        margin = f"{spec.transfer.margin_share:.0%} of the gain"
        transfer = f"{arms} arms, {spec.transfer.seeds} seeds{_fewer(spec.transfer)} | {margin}"
        searched = f"{spec.search.trials} | {_rounds(spec.confirm)}"
        lines.append(f"| {name} | {data} | {searched} | {transfer} | {_baselines(spec.baselines)} |")
    return "\n".join(lines)


def _fewer(transfer: Transfer) -> str:
    return f" ({transfer.other_seeds} of the other arms)" if transfer.other_seeds else ""


def _rounds(confirm: Confirm) -> str:
    return ", ".join(f"{points} x {seeds}" for points, seeds in confirm.rounds)


def _baselines(limits: Baselines) -> str:
    networks = [name for name in limits.methods if name in APPLICATIONS]
    tuned = sum(name.endswith(TUNED) for name in limits.methods)
    parts = [", ".join(networks) if len(networks) < 3 else f"{len(networks)} pretrained networks"] if networks else []
    parts += [f"{tuned} of them fine-tuned as well"] if tuned else []
    if "autokeras" in limits.methods:
        parts.insert(0, f"AutoKeras ({limits.autokeras_trials} trials of {limits.autokeras_epochs} epochs at most)")
    return ", ".join(parts)


def _table(fields: dict[str, FieldInfo]) -> Iterator[str]:
    yield "| key | value | default | meaning |\n| --- | --- | --- | --- |"
    for name, field in fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        yield f"| `{name}` | {_allowed(field)} | {_default(field)} | {meaning} |"
    yield ""


def _allowed(field: FieldInfo) -> str:
    limits = [text for item in field.metadata for text in _limits(item)]
    return ", ".join([_kind(field.annotation), *limits]).replace("|", "\\|")


def _limits(item: Any) -> Iterator[str]:
    for sign, name in ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le")):
        if (value := getattr(item, name, None)) is not None:
            yield f"{sign} {value:g}"
    if (least := getattr(item, "min_length", None)) is not None:
        yield f"at least {least}"


def _kind(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return ", ".join([_kind(inner[0]), *(text for item in inner[1:] for text in _limits(_metadata(item)))])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        same = len(inner) == 2 and inner[1] is Ellipsis
        return f"list of {_kind(inner[0])}" if same else "`[low, high]`"
    if origin is dict or _model(annotation) is not None:
        return "table"
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in inner if part is not type(None))
    return {int: "whole number", float: "number", str: "text", bool: "true or false"}.get(annotation, str(annotation))


def _metadata(item: Any) -> Any:
    # Field(ge=1) inside Annotated keeps its limits one level deeper.
    return next((part for part in getattr(item, "metadata", []) if list(_limits(part))), item)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "a table"
    if field.default is PydanticUndefined:
        return "required"
    if field.default is None:
        return "none"
    return f"`{json.dumps(field.default)}`"


def _model(annotation: Any) -> type[SpecModel] | None:
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, SpecModel):
            return part
    return None


def _first_paragraph(model: type[SpecModel]) -> str:
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())
