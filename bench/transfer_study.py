"""Does a (T, alpha) tuned on one dataset keep what tuning gains on another? Four datasets, every ordered pair.

    python bench/transfer_study.py [--storage URL] [--workers N] [--only SWEEP ...] [--declare | --report | --simulate]

Sixteen sweeps: each dataset as the source and the other three as targets, two students, two teachers. Every sweep has a
seed of its own: other teachers, other searches, other seeds. What is asked, how it is answered and the fingerprint of
each spec stand in bench/results/transfer-study/declared.md, written before anything ran (--declare); a sweep whose spec
is another one is refused. A finished sweep leaves its trainings in bench/results/transfer-study/NAME.csv, and
where they come from in NAME.json beside it, so the same command goes on after Ctrl-C, on any machine, and several may
work on one Postgres. --report writes the page alone.
"""

import argparse
import csv
import json
import os
import sys
from dataclasses import asdict, fields
from pathlib import Path
from statistics import fmean

from storage.url import resolve
from support.page import FOLDER, Origin, table
from support.transfer_matrix import ARMS, Line, Pair, by_sweep, kept, matrix, pairs, regrets, temperatures
from support.transfer_simulation import simulated
from sweeps.analysis.findings import Findings
from sweeps.analysis.load import load
from sweeps.analysis.secondary import ratio
from sweeps.analysis.units import percent
from sweeps.query.opening import open_sweep
from sweeps.report.formats import interval, percent_interval
from sweeps.service.create import create_sweep
from sweeps.service.create import resolve as with_data
from sweeps.service.launch import launch
from sweeps.spec.model import Spec, override
from sweeps.spec.presets import preset
from sweeps.stats.estimates import Estimate, estimate

HERE = FOLDER / "transfer-study"
GREY, COLOUR = {"teacher_epochs": 15, "epochs": 15}, {"teacher_epochs": 18, "epochs": 12}
# The two halves of CIFAR-10 share no class and no image; nothing else in colour can be had from package registries.
DATASETS = {
    "mnist": ("mnist", GREY),
    "fashion_mnist": ("fashion_mnist", GREY),
    "animals": ("support.halves:animals", COLOUR),
    "vehicles": ("support.halves:vehicles", COLOUR),
}
KINDS = (("mnist", "fashion_mnist"), ("animals", "vehicles"))
STUDENTS, TEACHERS = ("keras-student", "cnn-small-narrow"), ("cnn-small", "resnet8")
SETTINGS = {
    "baselines.methods": [],
    "outer.searches": 1,
    "transfer.seeds": 6,
    "transfer.other_seeds": 0,
    "transfer.source_arms": ["best", "scratch", "default-keras"],
    "transfer.target_arms": ["native", "best", "best-scaled", "default-keras", "scratch"],
}


def specs() -> dict[str, Spec]:
    """The sixteen specs by name. Each has its own seed, so that no two share a teacher, a search or a student."""
    found = {}
    for number, (source, student, teacher) in enumerate(
        (source, student, teacher) for teacher in TEACHERS for student in STUDENTS for source in DATASETS
    ):
        order = [source, *(name for name in DATASETS if name != source)]
        roles = {
            role: {
                "dataset": DATASETS[name][0],
                "name": name if DATASETS[name][0] != name else "",
                "images": 4_000,
                "teacher": teacher,
                "student": student,
                **DATASETS[name][1],
            }
            for role, name in zip(("source", "target", "target2", "target3"), order, strict=True)
        }
        spec = override(preset("quick"), SETTINGS | {"seed": 1000 + number} | roles)
        found[f"{source}-{student}-{teacher}"] = spec
    return found


def declare() -> None:
    """Write what is asked, how it is answered, and the fingerprint of every spec."""
    rows = [[f"`{name}`", spec.seed, f"`{with_data(spec).fingerprint}`"] for name, spec in specs().items()]
    HERE.mkdir(exist_ok=True)
    (HERE / "declared.md").write_text(f"{_DECLARED}\n{table(['sweep', 'seed', 'spec'], rows)}\n", encoding="utf-8")


_DECLARED = f"""# Declared before the study ran

Question: a (T, alpha) tuned on one dataset is used on another. Which share of what tuning there gains does it keep?

- Primary: the share kept by `best` ({ARMS["best"]}), (best - scratch) / (native - scratch) in points of test accuracy,
  over all ordered pairs of datasets: the ratio of two means over sweeps, with Fieller's 95 % interval. A sweep is one
  unit, since its pairs share a search and its teachers. `python bench/transfer_study.py --simulate` says how often such
  an interval holds the truth.
- Beside it, the same share of `default-keras` (T = 3, alpha = 0.5) and of `best-scaled` (T times the ratio of the
  spreads of the two teachers' logits).
- The regret native - best of each ordered pair, with a t interval over its sweeps: the transfer matrix.
- Nothing else is tested. No sweep is left out; a sweep that is not finished is missing in every number.

The recipe and the race are those of preset quick: 4,000 images, averaged weights, 10 Sobol points, halving to 4 x 1 and
2 x 2; 6 fresh seeds for every arm.
"""


def run(storage: str, workers: int | None, only: list[str]) -> None:
    """Work on every sweep that has left no file yet."""
    declared = (HERE / "declared.md").read_text(encoding="utf-8")
    for name, spec in specs().items():
        if (HERE / f"{name}.csv").exists() or (only and name not in only):
            continue
        whole = with_data(spec)
        if f"`{whole.fingerprint}`" not in declared:
            raise SystemExit(f"transfer_study.py: {name} has spec {whole.fingerprint[:12]}, which was not declared")
        create_sweep(resolve(storage), name, whole)
        if (code := launch(resolve(storage), name, workers=workers)) != 0:
            raise SystemExit(f"transfer_study.py: launch of {name} ended with {code}; the same command goes on")
        with open_sweep(storage, name) as (engine, sweep):
            _keep(load(engine, sweep))
        report()


def _keep(findings: Findings) -> None:
    """Write the trainings on fresh seeds of a finished sweep, and where they come from."""
    spec, made = findings.spec, findings.provenance
    origin = {
        "answer_hash": findings.answer_hash,
        "processor": ", ".join(dict.fromkeys(one.cpu for one in made.machines)),
        "core_seconds": round(made.work_s),
        "numerics": made.numerics,
        "machines": [asdict(one) for one in dict.fromkeys(made.machines)],
    }
    (HERE / f"{findings.name}.json").write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
    with (HERE / f"{findings.name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [one.name for one in fields(Line)], lineterminator="\n")
        writer.writeheader()
        for one in findings.trainings:
            if one.outcome is not None and one.outcome.test_accuracy is not None:
                line = Line(
                    sweep=findings.name,
                    source=spec.source.dataset,
                    dataset=one.dataset,
                    student=spec.source.student,
                    teacher=spec.source.teacher,
                    arm=one.arm,
                    repeat=one.repeat,
                    temperature=one.outcome.temperature,
                    alpha=one.outcome.alpha,
                    test_accuracy=one.outcome.test_accuracy,
                )
                writer.writerow(asdict(line))


def read() -> list[Line]:
    """The trainings of every finished sweep."""
    kinds = {one.name: {int: int, float: float}.get(one.type, str) for one in fields(Line)}
    found = []
    for path in _finished():
        with path.open(encoding="utf-8", newline="") as file:
            found += [Line(**{name: kinds[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]
    return found


def _finished() -> list[Path]:
    return [path for name in specs() if (path := HERE / f"{name}.csv").exists()]


def report() -> None:
    """Write the page and the figure from the files of the finished sweeps."""
    trained = read()
    found = pairs(trained)
    gains = by_sweep(found, "native")
    lost = regrets(found)
    gained = f"{fmean(gains.values()):.2f} points" if gains else "not known yet"
    rows = [[words, f"`{arm}`", _share(found, arm)] for arm, words in ARMS.items()]
    cells = [[source, target, interval(mean)] for (source, target), mean in sorted(lost.items())]
    text = f"""# Does a tuned (T, alpha) keep its gain on another dataset?

{len(gains)} of {len(specs())} sweeps are finished. What is asked, how it is answered and the hash of every spec
stand in `bench/results/transfer-study/declared.md`, written before the first of them ran.

{_headline(found)}

What distilling gains over no distillation where T and alpha were tuned on that dataset itself, the mean over sweeps:
{gained}.

{table(["arm", "key", "share of native's gain that it keeps, 95 % interval over sweeps"], rows)}

## Points lost by not tuning there

native - best, over the sweeps with these two datasets; the interval is over sweeps. The figure is `transfer-study.svg`.

{table(["tuned on", "used on", "regret, points"], cells)}

## What nobody declared

Computed after the study (post hoc): findings to test again, not results of a plan. Intervals are 95 % over sweeps and
not adjusted for their number. "Tuned there" is `native`, "tuned elsewhere" `best`, "the default" `default-keras`. The
kinds are {" and ".join(KINDS[0])}, in grey, and {" and ".join(KINDS[1])}, the halves of CIFAR-10. T: the geometric mean
of the searches on these datasets; a ratio of two is paired by sweep.

{table(["question", "answer"], _afterwards(found, trained))}

{table(_USED, _used(found, trained))}

## How often such an interval holds the truth

{_simulation(len(gains))}

## The sweeps

A core-second is one of a worker at work; versions and commits stand in the files beside the trainings.

{_origins()}

{ORIGIN}"""
    (FOLDER / "transfer-study.md").write_text(text, encoding="utf-8")
    (FOLDER / "transfer-study.svg").write_text(matrix(lost, list(DATASETS)), encoding="utf-8")


def _afterwards(found: list[Pair], trained: list[Line]) -> list[list[str]]:
    """Return the contrasts that the declared shares invite, and what differs between the kinds of dataset."""
    across, within = (
        by_sweep([pair for pair in found if (_kind(pair.source) != _kind(pair.target)) == other], "native", "best")
        for other in (True, False)
    )
    elsewhere = by_sweep(found, "best", "default-keras")
    apart = ratio([-value for value in elsewhere.values()], list(by_sweep(found, "native").values()))
    worse = [pair.gains["best"] < pair.gains["default-keras"] for pair in found]
    worse_sweeps = sum(value < 0 for value in elsewhere.values())
    near = {arm: sum(pair.gains["native"] - pair.gains[arm] < 1 for pair in found) for arm in ("best", "default-keras")}
    ratios = [KINDS[::-1], *([(one,), (other,)] for one, other in KINDS)]
    return [
        ["tuned there - the default, points", _mean(by_sweep(found, "native", "default-keras"))],
        ["tuned elsewhere - the default, points", _mean(elsewhere)],
        [
            "tuned elsewhere below the default",
            f"{worse_sweeps} of {len(elsewhere)} sweeps, {sum(worse)} of {len(worse)} pairs",
        ],
        [
            "less than a point below tuned there",
            f"tuned elsewhere {near['best']}, the default {near['default-keras']} of {len(found)} pairs",
        ],
        ["share that the default keeps - share that `best` keeps", _percent(apart)],
        ["tuned there - tuned on the other kind, points", _mean(across)],
        ["tuned there - tuned on the same kind, points", _mean(within)],
        [
            "the former less the latter",
            _mean({name: across[name] - within[name] for name in across.keys() & within.keys()}),
        ],
        *(
            [f"T, {' and '.join(above)} / {' and '.join(below)}", _times(temperatures(trained, above, below))]
            for above, below in ratios
        ),
    ]


_USED = ["used on", "T tuned there", "`native` gains, points", "`best` keeps", "`default-keras` keeps"]


def _used(found: list[Pair], trained: list[Line]) -> list[list[str]]:
    rows = []
    for name in DATASETS:
        there = [pair for pair in found if pair.target == name]
        shares = [_percent(kept(there, arm)) for arm in ("best", "default-keras")]
        rows.append([name, _times(temperatures(trained, [name])), _mean(by_sweep(there, "native")), *shares])
    return rows


def _kind(dataset: str) -> int:
    return next(number for number, kind in enumerate(KINDS) if dataset in kind)


def _mean(values: dict[str, float]) -> str:
    return interval(estimate(list(values.values())))


def _times(value: Estimate | None) -> str:
    return "not yet" if value is None else f"{value.mean:.2f} [{value.low:.2f}, {value.high:.2f}] (n={value.n})"


def _origins() -> str:
    rows = []
    for path in _finished():
        origin = path.with_suffix(".json")
        found = json.loads(origin.read_text(encoding="utf-8")) if origin.exists() else {}
        rows.append([f"`{path.stem}`", *(found.get(name, "not kept") for name in _SHOWN.values())])
    return table(["sweep", *_SHOWN], rows)


_SHOWN = {"answer hash": "answer_hash", "processor": "processor", "core-seconds": "core_seconds"}


def _simulation(sweeps: int) -> str:
    if sweeps < 2:
        return "Not known yet: one sweep gives no interval."
    return f"""{sweeps} sweeps of three pairs each are drawn 2,000 times, with a planted gain and a planted share.
Standard deviations, in points: 0.4 between sweeps, 0.3 between pairs, 0.2 of a mean over seeds. Where native
gains nothing, an interval is wrong to be there at all: that happens in one of twenty.

{simulated(sweeps)}"""


def _headline(found: list[Pair]) -> str:
    if not found:
        return "**No sweep is finished yet.**"
    done, planned = len({pair.sweep for pair in found}), len(specs())
    return (
        f"**{'' if done == planned else f'After {done} of {planned} sweeps: '}"
        f"On these four datasets, T and alpha tuned elsewhere keep {_share(found, 'best')} of what distilling gains"
        f" over no distillation where they were tuned there; the untuned default keeps"
        f" {_share(found, 'default-keras')}.**"
    )


def _share(found: list[Pair], arm: str) -> str:
    return _percent(kept(found, arm))


def _percent(share: Estimate | None) -> str:
    if share is None:
        return "not yet"
    if share.low is None or share.high is None:
        return f"{percent(share.mean):.0f} % (no interval: native is not shown to gain, or too few sweeps)"
    return percent_interval(share.mean, share.low, share.high)


ORIGIN = Origin()


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", default="sqlite:///transfer-study.db")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--only", nargs="+", default=[], metavar="SWEEP", help=", ".join(specs()))
    mode = parser.add_mutually_exclusive_group()
    for name in ("declare", "report", "simulate"):
        mode.add_argument(f"--{name}", action="store_true")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.only) - set(specs()):
        parser.error(f"--only: got {unknown.pop()!r}; allowed: {', '.join(specs())}")
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))  # for workers
    if asked.declare:
        declare()
    elif asked.simulate:
        print(simulated(len(specs())))
    elif asked.report:
        report()
    else:
        run(asked.storage, asked.workers, asked.only)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
