"""The page at /: which sweeps there are, with links to their reports. Rendered here, without script."""

from html import escape
from string import Template

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from sweeps.query.listing import SweepRow
from sweeps.web.served import Serving

router = APIRouter(include_in_schema=False)

_MOST = 1000
_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>kd-sweeps</title>
<style>body { font: 100%/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }</style>
</head>
<body>
<h1>Sweeps</h1>
<table>
<tr><th>name<th>source<th>target<th>state<th>done<th>
$rows</table>
<p><a href="/dashboard/">optuna-dashboard</a></p>
</body>
</html>
""")


@router.get("/")
def index(served: Serving) -> Response:
    """List the sweeps."""
    rows, _ = served.rows(limit=_MOST, offset=0)
    text = _PAGE.substitute(rows="".join(map(_row, rows)))
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), headers=_POLICY)


def _row(row: SweepRow) -> str:
    cells = "".join(f"<td>{escape(one)}" for one in (row.name, row.source, row.target, row.state))
    link = f'<a href="/api/v1/sweeps/{escape(row.name)}/report?format=html">report</a>'
    return f"<tr>{cells}<td>{row.done}/{row.tasks}<td>{link}\n"
