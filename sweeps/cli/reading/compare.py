"""Compare several sweeps: `compare`. It writes nothing to the storage; `-o DIR` draws, and writes into DIR."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Service, Storage
from sweeps.cli.places import asked
from sweeps.terminal import columns, fitted, number_of, say

if TYPE_CHECKING:
    from sweeps.analysis.findings import Findings
    from sweeps.places.place import Place

app = typer.Typer()

MOST = 20  # sweeps: 190 pairs on each dataset
_FORMS = ("brief", "markdown", "json", "csv")


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="NAME NAME [NAME ...]", help="Names of the sweeps.")],
    form: Annotated[
        str, typer.Option("-f", "--format", help="brief, markdown, json or csv; brief on a terminal, else markdown.")
    ] = "",
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="DIR", help="Write the comparison into this folder.")
    ] = None,
    storage: Storage = None,
    url: Service = None,
) -> None:
    """Set several sweeps beside each other: what each gains and costs, what differs, who is better.

    Students of the same seed are compared in pairs. With -f csv: one line for each finished training. With -o:
    compare.html with a forest plot, its Markdown, and that CSV.

    Example: kd-sweeps compare plain wide -o comparison
    """
    _check(names, form, output)
    place = asked(storage, url)
    findings = _findings(place, names)
    say(place.label)
    if form == "csv":
        print(_trainings(place, findings), end="")
        return
    from sweeps.analysis.compared.compared import compare as compared
    from sweeps.report.comparison import page

    found = compared(names, findings)
    if output is not None:
        from sweeps.report.comparison import folder

        written = folder.write(found, _trainings(place, findings), Path(output))
        print(fitted(page.headline(found), columns()))
        say(f"comparison {written}")
        return
    wide = columns()
    form = form or ("markdown" if wide is None else "brief")
    if form == "json":
        from sweeps.cli.formats import Format, render
        from sweeps.report.comparison.json_data import json_data

        print(render(json_data(found), Format.json))
    elif form == "markdown":
        print(page.text(found))
    else:
        from sweeps.report.brief import WIDTH
        from sweeps.report.comparison.brief import brief

        print(brief(found, columns=wide or WIDTH))


def _check(names: Sequence[str], form: str, output: str | None) -> None:
    from sweeps.errors import SpecError
    from sweeps.hints import here
    from sweeps.spec.model import check_name

    for name in names:
        check_name(name)
    twice = next((name for name in names if names.count(name) > 1), None)
    example = f"for example: {here().line('compare', names[0], 'ANOTHER')}"
    if twice is not None:
        raise SpecError(f"compare: got {twice} twice; name each sweep once, {example}")
    if not 2 <= len(names) <= MOST:
        raise SpecError(f"compare: got {number_of(len(names), 'sweep')}; allowed: 2 to {MOST}, {example}")
    if form not in ("", *_FORMS):
        raise SpecError(f"--format: got {form!r}; allowed: {', '.join(_FORMS)}")
    if output is not None and not output.strip():
        raise SpecError(f"--output: got {output!r}; give a folder, for example: -o comparison")
    if output is not None and form not in ("", "markdown"):
        raise SpecError(f"--output writes the page, its Markdown and the CSV; leave out --format {form}")


def _findings(place: "Place", names: Sequence[str]) -> "list[Findings]":
    """Return the findings of the sweeps that have some; raise the NoResultsYet of the first where none has."""
    from sweeps.errors import NoResultsYet

    found, nothing = [], []
    for name in names:
        try:
            found.append(place.findings(name))
        except NoResultsYet as error:
            nothing.append(error)
    if not found:
        raise nothing[0]
    return found


def _trainings(place: "Place", findings: "Sequence[Findings]") -> str:
    from sweeps.report.comparison.trainings import long_csv

    return long_csv([(one.name, one.spec, place.trials(one.name)) for one in findings])
