"""Build these pages: make docs."""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Generic, Keyword
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # autodoc imports TensorFlow, which greets at length

_project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _project["name"]
author = "the kd-sweeps authors"
copyright = author
release = _project["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
smartquotes = False  # "--" is an option here, not a dash

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"kd-sweeps {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}


class SessionLexer(RegexLexer):
    """Highlight the commands of a console session ("$ ", continued after "> "); every other line is output."""

    name = "session"
    aliases: ClassVar[list[str]] = ["console"]
    tokens: ClassVar[dict[str, list[object]]] = {
        "root": [
            (r"^([$>] ?)(.*\n)", bygroups(Generic.Prompt, Keyword)),
            (r".*\n", Generic.Output),
        ]
    }


def add_toctrees(app: Sphinx, name: str, source: list[str]) -> None:
    """Append a hidden toctree for each section of links of an index page.

    So the side bar follows the lists, which a code host shows as links.
    """
    if not name.endswith("index"):
        return
    for section in re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]:
        pages = re.findall(r"^- \[[^]]+\]\(([\w/-]+)\.md\)", section, flags=re.MULTILINE)
        if pages:
            caption = section.partition("\n")[0]
            source[0] += "\n".join(["\n```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


def setup(app: Sphinx) -> None:
    """Register the lexer and the side bar."""
    app.add_lexer("console", SessionLexer)
    app.connect("source-read", add_toctrees)
