"""The command line reference, read from the Typer app itself."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer.main

from sweeps.cli.app import app

# Typer ships its own copy of Click, whose classes are private: commands and parameters are Any here.


def markdown() -> str:
    """Return one section for each command, in alphabetical order."""
    group = typer.main.get_command(app)
    return "\n".join(line for path, command in commands(group) for line in _section(path, command))


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return each command with the words that call it, for example "data fetch"."""
    for name, command in sorted(group.commands.items()):
        words = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, words)
        else:
            yield words, command


def _section(path: str, command: Any) -> Iterator[str]:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    options = [item for item in command.params if item.param_type_name == "option" and item.name != "help"]
    words = [_metavar(item) if item.required else f"[{_metavar(item).strip('[]')}]" for item in arguments]
    yield f"## {path}\n"
    yield "```text\n" + " ".join(["kd-sweeps", path, *words, *(["[OPTIONS]"] if options else [])]) + "\n```\n"
    for paragraph in (command.help or "").strip().split("\n\n"):
        text = " ".join(paragraph.split())
        example = text.removeprefix("Example: ")
        yield f"{text}\n" if example == text else f"```text\n{example}\n```\n"
    if arguments or options:
        yield "| argument or option | meaning | default |\n| --- | --- | --- |"
        for item in arguments:
            yield f"| `{_metavar(item)}` | {_cell(item.help)} | {_default(item)} |"
        for item in options:
            names = ", ".join(f"`{name}`" for name in item.opts)
            value = "" if item.is_flag else f" `{_metavar(item)}`"
            yield f"| {names}{value} | {_cell(item.help)} | {_default(item)} |"
    yield ""


def _metavar(item: Any) -> str:
    if item.metavar:
        return str(item.metavar)
    annotation = item.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "\\|".join(str(member.value) for member in annotation)
    return {int: "N", str: "TEXT"}.get(annotation, "VALUE")


def _default(item: Any) -> str:
    if item.required:
        return "required"
    if item.default in (None, False, ()) or callable(item.default):
        return ""
    return f"`{getattr(item.default, 'value', item.default)}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
