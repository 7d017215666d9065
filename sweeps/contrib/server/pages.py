"""The live pages: their HTML, script and style, and the events that bring them up to date."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from html import escape
from string import Template
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from kd.errors import KdError
from storage.errors import StorageError
from sweeps.contrib.server.problems import LOG, problem
from sweeps.contrib.server.state import CACHE_TTL_S, PING_S, Name, View, Views
from sweeps.errors import SweepError
from sweeps.hints import explain, local
from sweeps.query.best import Best
from sweeps.query.status import Status
from sweeps.report.html_page import COLOURS
from sweeps.report.words import percentage
from sweeps.stats.estimates import limits
from sweeps.terminal import duration, number_of

_MOST_WORKERS = 16
_MOST_PROBLEMS = 8
LEAVE = ' <form method="post" action="/logout"><button>Log out</button></form>'
"""For a user who logged in with a token."""
POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
_MOST_LISTED = 20
_MOST_WATCHERS = 100
_TROUBLE = "The service cannot read its database now; what you see may be old. Trying again."


def index_page(views: Sequence[View], total: int) -> str:
    """Return many sweeps, each with what is most worth knowing."""
    if not views:
        return (
            "<section><h1>No sweep yet</h1>"
            f"<p>Make one: <code>{escape(local().create('NAME', '--preset quick'))}</code></p></section>\n"
        )
    sections = "".join(
        f"<section>\n{_head(view, linked=True)}{_progress(view)}{_best(view)}</section>\n" for view in views
    )
    more = f"<p class='soft'>The {len(views)} latest of {total} sweeps.</p>\n" if total > len(views) else ""
    return f"{sections}{more}"


def sweep_page(view: View) -> str:
    """Return one sweep with everything that is known of it."""
    parts = [_head(view, linked=False), _progress(view), _stages(view.status), _best(view), _problems(view)]
    return "".join(["<section>\n", *parts, _workers(view.status), _links(view), "</section>\n"])


def _head(view: View, *, linked: bool) -> str:
    name = escape(view.name)
    title = f'<h2><a href="{_path(view)}">{name}</a></h2>' if linked else f"<h1>{name}</h1>"
    word, tone = _state(view)
    tried = f", tried on {view.target}" if view.target else ""
    transfer = f'<span class="soft">{escape(f"tuned on {view.source}{tried}")}</span>'
    head = f'<div class="title">{title} <span class="badge {tone}">{word}</span> {transfer}</div>\n'
    if view.answer is None:
        return head
    verdict = f'<p><span class="badge {view.answer.badge.tone}">{escape(view.answer.badge.text)}</span></p>\n'
    return f'{head}<p class="headline">{escape(view.answer.headline)}</p>\n{verdict}'


def _state(view: View) -> tuple[str, str]:
    """Return what is going on in a word or two, and its tone."""
    if view.status.state != "active":
        return view.status.state, "open"
    if view.finished:
        return ("finished, with failures", "bad") if view.status.problems else ("finished", "good")
    return ("running", "good") if view.at_work else ("no worker is running", "open")


def _progress(view: View) -> str:
    now = view.status
    bar = "".join(
        f'<div style="flex-grow:{max(share, 0.001):.4f}" title="{stage}: {count.ended} of {count.total}">'
        f'<i style="width:{100 * count.ended / count.total:.1f}%"></i></div>'
        for stage, share in now.shares.items()
        if (count := now.stages[stage]).total
    )
    percent = f"{100 * now.fraction:.0f}"
    words = [f"{percent} % of the expected work is done"]
    if not view.finished:
        words.append(number_of(view.at_work, "worker"))
        if now.seconds_left:
            words.append(f"about {duration(max(round(now.seconds_left), 1))} left")
    roles = f'role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}" aria-label="work done"'
    summary = f'<div class="bar" {roles}>{bar}</div>\n<p class="soft">{" · ".join(words)}</p>\n'
    if view.finished or view.at_work or now.state != "active":
        return summary
    return f"{summary}<p>To start workers: <code>{escape(local().launch(view.name))}</code></p>\n"


def _stages(now: Status) -> str:
    rows = []
    for stage, count in now.display_stages.items():
        if not count.total:
            continue
        notes = {"running": count.running, "failed": count.failed, "skipped": count.skipped}
        remarks = "".join(f", {number} {name}" for name, number in notes.items() if number)
        rows.append(f"<li>{stage} <b>{count.ended}/{count.total}</b><span class='soft'>{remarks}</span></li>")
    return f'<ul class="stages">{"".join(rows)}</ul>\n'


def _best(view: View) -> str:
    lines = ""
    if view.best is not None:
        point = f'<span class="point">{escape(view.best.point.text())}</span><br>{_sure(view.best)}'
        lines = f"<h3>{'Best' if view.finished else 'Best so far'}</h3>\n<p>{point}</p>\n"
    if view.insight and view.answer is None:
        lines += f'<p class="soft">{escape(view.insight)}</p>\n'
    return lines


def _sure(best: Best) -> str:
    mean = f"{percentage(best.accuracy.mean)} % on validation images"
    if not best.confirmed:
        return f'{mean}, one training <span class="soft">(not confirmed: the luckiest of many)</span>'
    interval = limits(best.accuracy)
    if interval is None:
        return f"{mean}, mean of {best.accuracy.n} fresh seeds, no interval"
    low, high = max(interval[0], 0.0), min(interval[1], 1.0)
    return f"{mean}, 95 % interval {percentage(low)} to {percentage(high)}, {best.accuracy.n} fresh seeds"


def _problems(view: View) -> str:
    problems = view.status.problems
    if not problems:
        return ""
    lines = "".join(f'<p class="bad-text">{escape(text)}</p>\n' for text in problems[:_MOST_PROBLEMS])
    again = f"<p>To try that again: <code>{escape(local().retry_and_launch(view.name))}</code></p>\n"
    return f"<h3>What failed</h3>\n{lines}{again}"


def _workers(now: Status) -> str:
    rows = [
        (row.worker, row.task, f"last step {duration(round(row.idle_s))} ago" if row.alive else "its lease has lapsed")
        for row in now.workers
    ]
    rows += [(row.worker, row.state, f"seen {duration(round(row.seen_s))} ago") for row in now.idle_workers]
    if not rows:
        return ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows[:_MOST_WORKERS])
    more = f"<p class='soft'>and {len(rows) - _MOST_WORKERS} more</p>\n" if len(rows) > _MOST_WORKERS else ""
    head = "<tr><th>worker</th><th>at work on</th><th></th></tr>\n"
    return f'<h3>Workers</h3>\n<div class="scroll" tabindex="0"><table>\n{head}{body}</table></div>\n{more}'


def _links(view: View) -> str:
    name = quote(view.name, safe="")
    links = [(f"/api/v1/sweeps/{name}/report?format=html", "Report")] if view.best is not None else []
    if view.study is not None:
        links.append((f"/dashboard/studies/{view.study}", "Search in optuna-dashboard"))
    links += [(f"/api/v1/sweeps/{name}/trials", "Trials (JSON)"), (f"/api/v1/sweeps/{name}", "Status (JSON)")]
    anchors = "".join(f'<a href="{path}">{text}</a> ' for path, text in links)
    answer = view.status.fingerprints.answer_hash
    hash_note = f'<span class="soft">answer hash <code>{answer}</code></span>' if answer else ""
    return f'<div class="links">{anchors}{hash_note}</div>\n'


def _path(view: View) -> str:
    return f"/sweeps/{quote(view.name, safe='')}"


STYLE = (
    COLOURS
    + """
body { margin: 0; background: var(--page); }
header, main { max-width: 56rem; margin: 0 auto; padding: 0 1.25rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; align-items: baseline; padding-top: 1rem; }
header strong { font-size: 1.1rem; margin-right: auto; }
header strong a { color: inherit; text-decoration: none; }
header form { display: inline; }
header button { all: unset; cursor: pointer; color: var(--mark); text-decoration: underline; }
header button:focus-visible { outline: 2px solid var(--mark); }
a { color: var(--mark); }
main { padding-bottom: 4rem; }
section { border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.25rem; margin: 1rem 0; }
h1, h2 { font-size: 1.3rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
h2 a { color: inherit; }
h3 { font-size: .95rem; margin: 1.25rem 0 .25rem; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.title { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: baseline; }
.badge { font-size: .85rem; font-weight: 600; padding: .1rem .55rem; border-radius: 4px; background: var(--panel); }
.badge.good { color: var(--good); background: var(--good-panel); }
.badge.bad { color: var(--bad); background: var(--bad-panel); }
.badge.open { color: var(--open); background: var(--open-panel); }
.headline { font-size: 1.15rem; font-weight: 600; line-height: 1.4; }
.bar { display: flex; gap: 2px; height: 1.1rem; margin: .75rem 0 .25rem; border-radius: 5px; overflow: hidden; }
.bar div { background: var(--panel); border: 1px solid var(--line); box-sizing: border-box; }
.bar div { min-width: 3px; flex-basis: 0; }
.bar i { display: block; height: 100%; background: var(--mark); }
.stages { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .1rem 1rem; }
.stages { list-style: none; padding: 0; margin: .5rem 0; font-size: .9rem; }
.stages b { font-weight: 600; font-variant-numeric: tabular-nums; }
.point { font-size: 1.15rem; font-weight: 600; }
.bad-text { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.links { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin-top: .75rem; }
#lost { background: var(--bad-panel); color: var(--bad); padding: .5rem .75rem; border-radius: 6px; }
#lost[hidden] { display: none; }
@media (max-width: 40rem) {
  section { padding: .8rem .9rem; }
  header, main { padding-left: .75rem; padding-right: .75rem; }
}
"""
)

# What is read stays where it is: nothing is replaced while text is selected, and the focus goes back to its link.
SCRIPT = """
"use strict";
const live = document.getElementById("live");
const lost = document.getElementById("lost");
const source = new EventSource("/events" + location.pathname.replace(/\\/$/, ""));
const say = (text) => { lost.textContent = text; lost.hidden = !text; };
source.addEventListener("page", (event) => {
  say("");
  if (!getSelection().isCollapsed) return;
  const at = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  live.innerHTML = JSON.parse(event.data);
  if (at) live.querySelector(`a[href="${CSS.escape(at)}"]`)?.focus();
});
source.addEventListener("trouble", (event) => say(JSON.parse(event.data)));
source.onerror = () => {
  say("The service does not answer; what you see may be old. Trying again.");
  if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
};
""".strip()

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<noscript><meta http-equiv="refresh" content="10"></noscript>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/live.css">
<script src="/live.js" defer></script>
</head>
<body>
<header><strong><a href="/">kd-sweeps</a></strong> <a href="/dashboard/">optuna-dashboard</a>$leave</header>
<main>
<p id="lost" role="status" hidden></p>
<div id="live">
$body</div>
</main>
</body>
</html>
""")


router = APIRouter(include_in_schema=False)


@router.get("/")
def index(request: Request) -> Response:
    """Show the latest sweeps."""
    return _page(request, "kd-sweeps", _list(request.app.state.views))


@router.get("/sweeps/{name}")
def sweep(request: Request, name: Name) -> Response:
    """Show one sweep."""
    return _page(request, f"{name} – kd-sweeps", sweep_page(request.app.state.views.of(name)))


@router.get("/events")
async def index_events(request: Request) -> Response:
    """Send the list again whenever it changes."""
    return await _events(request, lambda: _list(request.app.state.views))


@router.get("/events/sweeps/{name}")
async def sweep_events(request: Request, name: Name) -> Response:
    """Send the page of one sweep again whenever it changes."""
    return await _events(request, lambda: sweep_page(request.app.state.views.of(name)))


@router.get("/live.js")
def script() -> Response:
    """Return the script of these pages."""
    return Response(SCRIPT, media_type="text/javascript; charset=utf-8", headers={"Cache-Control": "no-cache"})


@router.get("/live.css")
def style() -> Response:
    """Return their style."""
    return Response(STYLE, media_type="text/css; charset=utf-8", headers={"Cache-Control": "no-cache"})


def _list(views: Views) -> str:
    names, total = views.newest(_MOST_LISTED)
    latest = []
    for name in names:
        try:
            latest.append(views.of(name))
        except (SweepError, StorageError, KdError) as error:  # deleted just now, or damaged: the others are shown
            LOG.warning("%s is not shown: %s", name, explain(error))
    return index_page(latest, total)


def _page(request: Request, title: str, body: str) -> Response:
    leave = LEAVE if request.app.state.tokens is not None else ""
    text = PAGE.substitute(title=title, body=body, leave=leave)
    return HTMLResponse(text.encode("utf-8", "backslashreplace"), headers=POLICY)


async def _events(request: Request, render: Callable[[], str]) -> Response:
    state = request.app.state
    if state.followers >= _MOST_WATCHERS:
        return problem(503, f"{_MOST_WATCHERS} pages are followed already; reload this one later")
    first = await run_in_threadpool(render)  # what is wrong with the question is told as a problem
    return EventSourceResponse(_changes(state, render, first), ping=PING_S, sep="\n")


async def _changes(state: Any, render: Callable[[], str], now: str) -> AsyncIterator[ServerSentEvent]:
    state.followers += 1
    sent = ""
    try:
        while True:
            if now != sent:
                sent = now
                yield _event("page", now)
            await asyncio.sleep(CACHE_TTL_S)
            try:
                now = await run_in_threadpool(render)
            except (SweepError, KdError, StorageError) as error:
                if isinstance(error, StorageError):
                    LOG.warning("a page is not brought up to date: %s", error)
                yield _event("trouble", _TROUBLE if isinstance(error, StorageError) else str(error))
                now = sent = ""  # the next page is sent, whatever it is: it says that all is well again
    finally:
        state.followers -= 1


def _event(kind: str, text: str) -> ServerSentEvent:
    return ServerSentEvent(event=kind, data=json.dumps(text), sep="\n")
