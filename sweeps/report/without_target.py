"""The answer of a sweep of one dataset: what is the best point, and what does it gain?"""

from sweeps.findings.findings import Findings
from sweeps.findings.load import left
from sweeps.hints import PORTABLE
from sweeps.report import words
from sweeps.report.document import Advice, Badge, Card
from sweeps.stats.estimates import FEWEST_RUNS, Estimate


def question(findings: Findings) -> str:
    """Return what the sweep was made to find out."""
    return f"Does distilling help on {_name(findings)}, and is it worth tuning {words.searched(findings.spec)} there?"


def headline(findings: Findings) -> str:
    """Return the answer with its numbers; one to three short sentences."""
    gain, untuned = _gain(findings), _beyond(findings)
    if gain is None:
        return f"Whether distilling helps on {_name(findings)} is not known yet."
    said = [words.gained(gain, _name(findings))]
    if untuned is not None and (words.side(gain) != "below" or words.side(untuned) == "below"):
        number, default = words.difference(untuned), f"{words.owner(findings.better_default('source'))} untuned default"
        better = {
            "above": f"Tuning {words.searched(findings.spec)} is better than {default} ({number}).",
            "below": f"{default} is better than the tuned values ({number}).",
        }
        said.append(better.get(words.side(untuned), f"Tuning was not shown to beat {default} ({number})."))
    return " ".join(said)


def badge(findings: Findings) -> Badge:
    """Return the answer in a few words."""
    gain, untuned = words.side(_gain(findings)), words.side(_beyond(findings))
    if gain == "unknown":
        done, planned = _progress(findings)
        if left(findings.trainings, "source"):
            return Badge(f"NOT YET: {done} of {planned} trainings on fresh seeds are done", "open")
        return Badge("NO ANSWER: it takes best and scratch on three seeds or more", "open")
    if gain == "below":
        return Badge("HARMS: the network without a teacher is better", "bad")
    if gain == "open":
        return Badge("NOT SHOWN TO HELP: nothing is told apart from training without a teacher", "open")
    if untuned == "above":
        return Badge("PAYS: distilling helps, and tuning beats the default", "good")
    if untuned == "below":
        return Badge("HELPS: distilling gains; the untuned default is better than the tuned values", "good")
    return Badge("HELPS: distilling gains; tuning was not shown to beat the default", "good")


def cards(findings: Findings) -> tuple[Card, ...]:
    """Return the numbers: what distilling gains, what tuning gains, and how far the network is from its teacher."""
    nothing = "not yet" if left(findings.trainings, "source") else "no result"
    return (
        words.card("Does distilling help?", _gain(findings), nothing=nothing, negative="No, it harms"),
        words.tuning_card(findings, "source", nothing=nothing),
    )


def advice(findings: Findings) -> Advice:
    """Return what to do, and the commands for it."""
    name, gain = findings.name, _gain(findings)
    tuned = findings.confirmed.get("source")
    if words.side(gain) == "unknown":
        return _finish(findings)
    if untuned := words.untuned_instead(findings, "source"):
        return Advice(untuned)
    if words.side(gain) in ("below", "open"):
        why = "harms it" if words.side(gain) == "below" else "was not shown to help it"
        return Advice(f"Train the small network without a teacher: distilling {why}.")
    if tuned is None:
        return Advice("Let the search finish.", (PORTABLE.launch(name),))
    return Advice(f"Use {tuned.best.point.text()}.", (PORTABLE.line("best", name, "--paste"),))


def _finish(findings: Findings) -> Advice:
    name, seeds = findings.name, findings.spec.transfer.seeds
    done, planned = _progress(findings)
    if left(findings.trainings, "source"):
        return Advice("Let the sweep finish.", (PORTABLE.launch(name),))
    if done < planned:
        return Advice("Let the missing trainings run again.", (PORTABLE.retry(name), PORTABLE.launch(name)))
    if seeds < FEWEST_RUNS and len(findings.looks) < findings.spec.transfer.looks:
        more = PORTABLE.line("extend", name, "--seeds", f"+{FEWEST_RUNS - seeds}")
        return Advice("Train with more seeds.", (more, PORTABLE.launch(name)))
    return Advice("Make another sweep that compares best and scratch on more seeds.")


def _progress(findings: Findings) -> tuple[int, int]:
    """Return how many trainings on fresh seeds are done, and how many are planned."""
    states = [one.state for one in findings.trainings]
    return states.count("done"), len(states)


def _gain(findings: Findings) -> Estimate | None:
    return findings.gain("source")


def _beyond(findings: Findings) -> Estimate | None:
    return findings.beyond_default("source")


def _name(findings: Findings) -> str:
    return words.display_name(findings.spec.source.dataset)
