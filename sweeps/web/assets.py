"""The frame of the live page: its style, and the lines of script that bring it up to date."""

from string import Template

from sweeps.report.colours import COLOURS

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

LEAVE = ' <form method="post" action="/logout"><button>Log out</button></form>'
"""For who came in with a token."""

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
