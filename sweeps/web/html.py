"""Write sweeps as HTML: one on its own page, many as a list. All text is escaped, since names come from users."""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from sweeps.hints import here
from sweeps.query.best import Best
from sweeps.query.status import StageCount, Status
from sweeps.report.formats import percentage
from sweeps.stats.estimates import limits
from sweeps.terminal import duration, number_of
from sweeps.web.views import View

_MOST_WORKERS = 16
_MOST_PROBLEMS = 8


def listed(views: Sequence[View], total: int) -> str:
    """Return many sweeps, each with what is most worth knowing."""
    if not views:
        return (
            "<section><h1>No sweep yet</h1>"
            f"<p>Make one: <code>{escape(here().create('NAME', '--preset quick'))}</code></p></section>\n"
        )
    shown = "".join(
        f"<section>\n{_head(view, linked=True)}{_progress(view)}{_best(view)}</section>\n" for view in views
    )
    more = f"<p class='soft'>The {len(views)} latest of {total} sweeps.</p>\n" if total > len(views) else ""
    return f"{shown}{more}"


def alone(view: View) -> str:
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
        f'<div style="flex-grow:{max(share, 0.001):.4f}" title="{stage}: {_counted(now.stages[stage])}">'
        f'<i style="width:{_done(now.stages[stage]):.1f}%"></i></div>'
        for stage, share in now.shares.items()
        if now.stages[stage].total
    )
    percent = f"{100 * now.fraction:.0f}"
    words = [f"{percent} % of the expected work is done"]
    if not view.finished:
        words.append(number_of(view.at_work, "worker"))
        if now.seconds_left:
            words.append(f"about {duration(max(round(now.seconds_left), 1))} left")
    roles = f'role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}" aria-label="work done"'
    said = f'<div class="bar" {roles}>{bar}</div>\n<p class="soft">{" · ".join(words)}</p>\n'
    if view.finished or view.at_work or now.state != "active":
        return said
    return f"{said}<p>To start workers: <code>{escape(here().launch(view.name))}</code></p>\n"


def _done(count: StageCount) -> float:
    return 100 * count.ended / count.total


def _counted(count: StageCount) -> str:
    return f"{count.ended} of {count.total}"


def _stages(now: Status) -> str:
    rows = []
    for stage, count in now.shown_stages.items():
        if not count.total:
            continue
        notes = {"running": count.running, "failed": count.failed, "skipped": count.skipped}
        said = "".join(f", {number} {name}" for name, number in notes.items() if number)
        rows.append(f"<li>{stage} <b>{count.ended}/{count.total}</b><span class='soft'>{said}</span></li>")
    return f'<ul class="stages">{"".join(rows)}</ul>\n'


def _best(view: View) -> str:
    lines = ""
    if view.best is not None:
        found = f'<span class="point">{escape(view.best.point.text())}</span><br>{_sure(view.best)}'
        lines = f"<h3>{'Best' if view.finished else 'Best so far'}</h3>\n<p>{found}</p>\n"
    if view.insight and view.answer is None:
        lines += f'<p class="soft">{escape(view.insight)}</p>\n'
    return lines


def _sure(best: Best) -> str:
    found = f"{percentage(best.accuracy.mean)} % on validation images"
    if not best.confirmed:
        return f'{found}, one training <span class="soft">(not confirmed: the luckiest of many)</span>'
    shown = limits(best.accuracy)
    if shown is None:
        return f"{found}, mean of {best.accuracy.n} fresh seeds, no interval"
    low, high = max(shown[0], 0.0), min(shown[1], 1.0)
    return f"{found}, 95 % interval {percentage(low)} to {percentage(high)}, {best.accuracy.n} fresh seeds"


def _problems(view: View) -> str:
    problems = view.status.problems
    if not problems:
        return ""
    lines = "".join(f'<p class="bad-text">{escape(one)}</p>\n' for one in problems[:_MOST_PROBLEMS])
    again = f"<p>To try that again: <code>{escape(here().retry_and_launch(view.name))}</code></p>\n"
    return f"<h3>What failed</h3>\n{lines}{again}"


def _workers(now: Status) -> str:
    rows = [
        (one.worker, one.task, f"last step {duration(round(one.idle_s))} ago" if one.alive else "its lease has lapsed")
        for one in now.workers
    ]
    rows += [(one.worker, one.state, f"seen {duration(round(one.seen_s))} ago") for one in now.others]
    if not rows:
        return ""
    shown = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows[:_MOST_WORKERS])
    more = f"<p class='soft'>and {len(rows) - _MOST_WORKERS} more</p>\n" if len(rows) > _MOST_WORKERS else ""
    head = "<tr><th>worker</th><th>at work on</th><th></th></tr>\n"
    return f'<h3>Workers</h3>\n<div class="scroll" tabindex="0"><table>\n{head}{shown}</table></div>\n{more}'


def _links(view: View) -> str:
    name = quote(view.name, safe="")
    links = [(f"/api/v1/sweeps/{name}/report?format=html", "Report")] if view.best is not None else []
    if view.study is not None:
        links.append((f"/dashboard/studies/{view.study}", "Search in optuna-dashboard"))
    links += [(f"/api/v1/sweeps/{name}/trials", "Trials (JSON)"), (f"/api/v1/sweeps/{name}", "Status (JSON)")]
    shown = "".join(f'<a href="{path}">{text}</a> ' for path, text in links)
    answer = view.status.bits.answer_hash
    said = f'<span class="soft">answer hash <code>{answer}</code></span>' if answer else ""
    return f'<div class="links">{shown}{said}</div>\n'


def _path(view: View) -> str:
    return f"/sweeps/{quote(view.name, safe='')}"
