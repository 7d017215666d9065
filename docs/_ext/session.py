"""Highlight a console session by its prompts alone: what a command printed is no shell code."""

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Generic, Keyword


class SessionLexer(RegexLexer):
    """Commands stand behind "$ ", their further lines behind "> "; every other line is output."""

    name = "session"
    aliases: ClassVar[list[str]] = ["console"]
    tokens: ClassVar[dict[str, list[object]]] = {
        "root": [
            (r"^([$>] ?)(.*\n)", bygroups(Generic.Prompt, Keyword)),
            (r".*\n", Generic.Output),
        ]
    }
