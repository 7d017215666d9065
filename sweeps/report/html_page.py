"""Write the parts of a page as one self-contained HTML file, from the folder templates."""

import re
from collections.abc import Iterable, Mapping
from html import escape

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sweeps.plan.phases import UNAVAILABLE
from sweeps.report import document

_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")


def inline(text: str) -> Markup:
    """Return text as HTML: `code` and **bold** become elements, the rest is escaped."""

    def marked(escaped: str) -> str:
        return _INLINE.sub(element, escaped)

    def element(match: re.Match[str]) -> str:
        return f"<code>{match[1]}</code>" if match[1] else f"<strong>{marked(match[2])}</strong>"

    return Markup(marked(escape(document.typeset(text))))


def unbroken(text: str) -> str:
    """Return the text of a number that breaks only before its interval and its n: "+5.00 [+3.41, +6.59] (n=4)"."""
    return text.replace(" ± ", "\xa0±\xa0").replace(", ", ",\xa0").replace("< ", "<\xa0")


def embedded(figure: document.Figure, figures: Mapping[str, str], name: str = "") -> Markup:
    """Return a figure as inline SVG, drawn by this package with texts that matplotlib escaped.

    name: of its narrow version, or "".
    """
    name = name or figure.name
    svg = figures[name]
    # Ids must be unique within the page, but matplotlib numbers them from 1 in each figure.
    prefix = re.sub(r"\W+", "-", name)
    svg = re.sub(r'\bid="|href="#|url\(#', lambda match: f"{match[0]}{prefix}-", svg[svg.index("<svg") :])
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(figure.alt)}"', 1))


def _escape(value: object) -> object:
    # Autoescape would write quotes as &#34; instead of &quot;, and pages would differ from those of earlier versions.
    return value if hasattr(value, "__html__") else Markup(escape(str(value)))


def environment(*packages: str) -> Environment:
    """Return the templates of some packages and of reports.

    Notes, paths and reasons come from users and cannot become markup: templates escape all that they print.
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "sweeps.report")]),
        autoescape=True,
        finalize=_escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"inline": inline, "embedded": embedded, "unbroken": unbroken}
    templates.globals |= {"zip": zip, "UNAVAILABLE": UNAVAILABLE}
    return templates


_TEMPLATES = environment()


def html(blocks: Iterable[document.Block], *, title: str, figures: Mapping[str, str]) -> str:
    """Return the page.

    Args:
        figures: SVG by name, one for each `Figure`.
    """
    return _TEMPLATES.get_template("page.html").render(blocks=blocks, title=title, figures=figures)
