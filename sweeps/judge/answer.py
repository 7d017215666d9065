"""Write a judgement as plain values, as text for a terminal, or as a folder with a page."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sweeps.extensions import require
from sweeps.judge import words
from sweeps.judge.judging import Judgement, Setting
from sweeps.report import document, markdown
from sweeps.report.document import Figure
from sweeps.terminal import truncated, wrapped

PAGE = "judge.html"
_TAG = re.compile(r"<(?=[A-Za-z/!?])")  # a name may contain HTML, which Markdown would keep
_OF_DIFFERENCE, _OF_TEST = ("mean", "low", "high", "n"), ("p", "p_holm", "better", "worse")
_LONGEST, _SHORTEST = 30, 12  # characters of a setting's name in a terminal's table


def values(judgement: Judgement) -> dict[str, Any]:
    """Return the judgement as JSON values. Levels are as in the file; positive differences are better."""
    known: dict[str, Any] = json.loads(json.dumps(asdict(replace(judgement, runs=replace(judgement.runs, scores={})))))
    runs = known.pop("runs")
    del runs["scores"]  # they are in the file
    return {
        "headline": words.headline(judgement),
        "reason": words.reason(judgement),
        "what_to_do": words.advice(judgement),
        "notes": [*words.sentences(judgement)],
        **runs,
        "baseline": known.pop("base"),
        "settings": known.pop("others"),
        **known,
    }


def rows(judgement: Judgement) -> list[dict[str, Any]]:
    """Return one record per setting, baseline first, without differences and p."""
    nothing = dict.fromkeys((*(f"difference_{name}" for name in _OF_DIFFERENCE), *_OF_TEST))
    records = [_level(judgement.base) | nothing]
    for setting in judgement.others:
        value = setting.against.difference
        differences = {f"difference_{name}": value and getattr(value, name) for name in _OF_DIFFERENCE}
        records.append(_level(setting) | differences | {name: getattr(setting.against, name) for name in _OF_TEST})
    return records


def _level(setting: Setting) -> dict[str, Any]:
    return {"setting": setting.name, "runs": setting.runs, "mean": setting.mean}


def text(judgement: Judgement, *, columns: int) -> list[str]:
    """Return the sentences, wrapped, and the table as lines."""
    table = words.rows(judgement)
    cells = [[column.title for column in table.columns], *(list(row) for row in table.rows[: words.MOST_ROWS])]
    others = sum(2 + max(map(len, column)) for column in [*zip(*cells, strict=True)][1:])
    longest = max(min(columns - others, _LONGEST), _SHORTEST)
    cells = [[truncated(row[0], longest), *row[1:]] for row in cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        *wrapped(words.origin(judgement), columns),
        "",
        *wrapped(words.headline(judgement), columns),
        *(wrapped(reason, columns, then="  ") if (reason := words.reason(judgement)) else []),
        "",
        *("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells),
    ]
    if len(table.rows) > words.MOST_ROWS:
        lines.append(f"and {len(table.rows) - words.MOST_ROWS} more; the full list: -f json")
    lines.append("")
    notes = [line for text in words.sentences(judgement) for line in wrapped(text, columns, first="- ", then="  ")]
    lines += [*notes, ""] if notes else []
    return [*lines, *wrapped(f"What to do: {words.advice(judgement)}", columns, then="  ")]


def write(judgement: Judgement, directory: Path) -> Path:
    """Write the judgement into a folder as page with figure, Markdown and JSON; return the path of the page."""
    require("report", "judge --output")
    from sweeps.judge import figure  # here: text and JSON do without matplotlib and SQLAlchemy
    from sweeps.report import folder

    stale = [f"figures/{name}.svg" for name in (figure.NAME, figure.NARROW)]
    folder.replace_files(lambda: _files(judgement), directory, what="judgement", stale=stale)
    return directory / PAGE


def _files(judgement: Judgement) -> dict[str, str]:
    from sweeps.judge import figure
    from sweeps.report import html_page

    figures = {figure.NAME: figure.draw(judgement), figure.NARROW: figure.draw(judgement, phone=True)}
    caption = figure.caption(judgement)
    blocks = words.page(judgement, figure=Figure(figure.NAME, figure.ALT, caption, narrow=figure.NARROW))
    return {
        **{f"figures/{name}.svg": text for name, text in figures.items()},
        "judge.json": f"{json.dumps(values(judgement), indent=2, ensure_ascii=False)}\n",
        "judge.md": f"{_TAG.sub('&lt;', markdown.text(blocks))}\n",
        PAGE: html_page.html(blocks, title=document.typeset(words.headline(judgement)), figures=figures),
    }
