"""A comparison in the lines of a terminal, the headline last."""

from sweeps.analysis.compared.compared import Compared
from sweeps.analysis.compared.pairs import Pair
from sweeps.analysis.compared.standings import Absent, Standing
from sweeps.hints import here
from sweeps.report.brief import WIDTH
from sweeps.report.comparison import page, tables
from sweeps.report.comparison.tables import shown
from sweeps.report.formats import accuracy, interval
from sweeps.report.names import called
from sweeps.terminal import wrapped

_NARROWEST = 40


def brief(found: Compared, *, columns: int) -> str:
    """Return the lines; none is longer than the terminal or than WIDTH, but for a name that cannot break.

    Args:
        columns: of the terminal.
    """
    width = max(_NARROWEST, min(columns, WIDTH))
    texts = [*_sweeps(found), ""]
    for dataset in found.datasets:
        texts.append(f"On {called(dataset)}:")
        texts += [f"  {_standing(one)}" for one in found.standings if one.dataset == dataset]
        texts += [f"  {_pair(one)}" for one in found.pairs if one.dataset == dataset]
        texts.append("")
    if found.differing:
        texts += ["Their specs differ in:", *map(_differing, tables.differing(found).rows), ""]
    names = " ".join(found.names)
    texts += [f"As a page: {here().line('compare', names, '-o', 'comparison')}", "", page.headline(found)]
    return "\n".join(line for text in texts for line in (_wrapped(text, width) if text else [""]))


def _sweeps(found: Compared) -> list[str]:
    lines = []
    for name, direction, point, tasks, cost, status in tables.overview(found).rows:
        known = f"{direction}; best point {point}; {tasks} tasks, {cost}; {status}"
        lines.append(f"{name}: {status if name in found.pending else known}")
    return lines


def _standing(one: Standing) -> str:
    test = one.test.value if isinstance(one.test, Absent) else accuracy(one.test)
    parts = [f"test % {test}", f"over no distillation {shown(one.gain)}", f"over Keras' default {shown(one.tuning)}"]
    parts += [f"regret {shown(one.regret)}"] if one.regret is not Absent.PLANNED else []
    return f"{one.sweep} ({one.role}): {'; '.join(parts)}"


def _pair(one: Pair) -> str:
    if one.difference is None:
        return f"{one.first} - {one.second}: {one.why}"
    tested = "" if one.p_holm is None else f", p = {tables.p_value(one.p_holm)} (Holm)".replace("= <", "<")
    return f"{one.first} - {one.second}: {interval(one.difference)}{tested}"


def _differing(row: tuple[str, ...]) -> str:
    key, *values = row
    return f"  {key.strip('`')}: {' | '.join(values)}"


def _wrapped(text: str, width: int) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return wrapped(text.lstrip(), width, first=indent, then=f"{indent}  ")
