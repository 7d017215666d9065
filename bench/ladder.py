"""How much faster does each step from the naive sweep to this one make it? All steps on the same cores in one run.

    python bench/ladder.py [--page FILE]

One unit of work (W1) is one search trial of the keras.io pair: 50,000 training images of MNIST, 3 epochs, batch 64,
Adam 1e-3, validation once per epoch. The rungs take turns, so that other load affects all of them. Writes the section
"Ladder" of bench/results/results.md. MNIST comes from the cache or from KD_SWEEPS_DATA.
"""

import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from sqlalchemy import Engine

from storage.db.engine import open_engine
from storage.records import queries
from storage.url import resolve
from support.page import Origin, bar, make_parser, table, write_section
from sweeps.distill.presets import preset
from sweeps.spec.model import Spec, override
from sweeps.usecases.create import create_sweep

NAME = "ladder"
TOLERANCE = 0.0015  # accuracy: 0.15 points
REPEATS = 3  # of every rung
IMAGES = 50_000  # of the training
TRIALS = 40  # of each launch: twice the points that the rungs take, or more
LOSS_TOLERANCE = 1e-4
PASS, TARGET = 25, 40
# Multiply-accumulates of one image, forward, by kd.models.measure.count_macs; a test compares them.
STUDENT_MACS, TEACHER_MACS = 269_696, 58_505_216


@dataclass
class Rung:
    """One way to run trials. trials: per repeat. seconds: of each trial, over all repeats."""

    name: str
    text: str
    trials: int
    with_teacher: bool = False
    seconds: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)  # of the trial common to all rungs, by repeat

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def rungs() -> list[Rung]:
    return [  # from the bottom up, without the product itself
        Rung("naive", "(a) naive: keras.distillation.Distiller, a fresh model per trial, all threads", 1, True),
        Rung("cached", "(b) + the teacher's logits computed once", 1),
        Rung("steps", "(c) + 50 steps per execution", 2),
        Rung("compiled", "(d) + one compiled step for all trials", 4),
    ]


def spec_of(images: int, trials: int) -> Spec:
    """Return the spec of a sweep that is nearly all search."""
    return override(
        preset("tiny"),
        {
            "source": {
                "dataset": "mnist", "images": images, "teacher": "keras-teacher", "teacher_epochs": 1, "epochs": 3,
            },
            "target.epochs": 1,
            "target.teacher_epochs": 1,
            "training.batch_size": 64,
            "training.learning_rate": 1e-3,
            "training.schedule": "constant",  # as the other rungs train
            "search.trials": trials,
            "confirm": {"top": 1, "seeds": 1},
            "transfer": {"seeds": 1, "source_arms": ["best"], "target_arms": ["best"]},
            "baselines.methods": [],
        },
    )  # fmt: skip


@contextmanager
def launched(url: str, workers: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the product, `kd-sweeps launch`; SIGTERM ends it with the block."""
    command = [sys.executable, "-m", "sweeps.cli", "launch", NAME, "--workers", str(workers)]
    environment = os.environ | {"KD_SWEEPS_STORAGE": url, "PYTHONPATH": str(ROOT)}
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def await_phase(engine: Engine, phase: str, process: subprocess.Popen[bytes], log: Path) -> None:
    sweep = queries.find_sweep(engine, NAME)
    while True:
        (record,) = [record for record in queries.phase_records(engine, sweep.id) if record.name == phase]
        if record.state == "closed":
            return
        if record.state != "open" or process.poll() is not None:
            raise SystemExit(f"{phase} is {record.state}: {record.reason}; output of launch: {log.read_text()[-2000:]}")
        time.sleep(0.1)


def prepare(url: str, spec: Spec, log: Path) -> None:
    """Create the sweep and train its source teacher with the product."""
    create_sweep(resolve(url), NAME, spec)
    engine = open_engine(resolve(url), read_only=True)
    with launched(url, 1, log) as process:
        await_phase(engine, "teachers:source", process, log)
    engine.dispose()


@dataclass(frozen=True)
class Launch:
    """The search phase of one `launch`. steady_s, whole_s: seconds per trial without and with its start."""

    steady_s: float
    whole_s: float
    accuracies: list[float]


def launch(url: str, workers: int, log: Path) -> Launch:
    engine = open_engine(resolve(url), read_only=True)
    start = time.time()
    with launched(url, workers, log) as process:
        await_phase(engine, "search", process, log)
    sweep = queries.find_sweep(engine, NAME)
    tasks = queries.task_records(engine, sweep.id, phase="search", state="done")
    engine.dispose()
    ends = sorted(task.finished_at for task in tasks if task.finished_at is not None)
    firsts: dict[str | None, float] = {}
    for task in tasks:
        firsts[task.worker] = min(task.finished_at or math.inf, firsts.get(task.worker, math.inf))
    # From the time when every worker has finished its first trial, and with it imports, data and compiling.
    begin = max(firsts.values())
    after = [end for end in ends if end > begin]
    return Launch(
        steady_s=(after[-1] - begin) / len(after),
        whole_s=(ends[-1] - start) / len(ends),
        accuracies=[task.score for task in tasks if task.score is not None],
    )


def climb(rung: str, url: str, first: int, count: int, log: Path) -> Any:
    program = ROOT / "bench" / "support" / "rungs.py"
    command = [sys.executable, str(program), rung, url, str(first), str(count)]
    with log.open("ab") as err:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=err, check=False)
    if result.returncode:
        raise SystemExit(f"{rung} ended with {result.returncode}: {log.read_text()[-2000:]}")
    return json.loads(result.stdout)


def gflop(spec: Spec, *, with_teacher: bool) -> float:
    """Return the GFLOP of one trial and its validations, training counted as three forward passes, as usual."""
    batch = spec.training.batch_size
    trained = spec.source.images // batch * batch * spec.source.epochs
    validated = 10_000 * spec.source.epochs
    per_trained = 3 * STUDENT_MACS + (TEACHER_MACS if with_teacher else 0)
    return 2 * (trained * per_trained + validated * STUDENT_MACS) / 1e9


def page(spec: Spec, rungs: list[Rung], launches: list[Launch], losses: list[float], matmul: list[float]) -> str:
    heads = ("rung", "s per trial: median", "min to max", "trials per hour", "ratio to (a)", "images/s", "GFLOP/s",
             "share of a matrix product")  # fmt: skip
    naive, top, peak = rungs[0], rungs[-1], statistics.median(matmul)
    batch = spec.training.batch_size
    images = spec.source.images // batch * batch * spec.source.epochs
    rows = []
    for rung in rungs:
        rate = gflop(spec, with_teacher=rung.with_teacher) / rung.median
        rows.append([
            rung.text, f"{rung.median:.2f}", f"{min(rung.seconds):.2f} to {max(rung.seconds):.2f}",
            f"{3600 / rung.median:,.0f}", f"{naive.median / rung.median:.1f}", f"{images / rung.median:,.0f}",
            f"{rate:.0f}", f"{100 * rate / peak:.0f} %",
        ])  # fmt: skip
    whole = statistics.median(launch.whole_s for launch in launches)
    means = {rung.name: statistics.mean(rung.accuracies) for rung in rungs}
    apart = 100 * (means[top.name] - means[naive.name])
    ratio = naive.median / top.median
    return f"""One trial: {spec.source.images:,} training images, {spec.source.epochs} epochs, batch {batch};
medians over {len(naive.seconds)} repeats, the rungs taking turns. The process is up in every rung: imports, reading the
data and, where a step is compiled once, compiling it are not in these seconds. (a) to (c) validate with the student
alone, which spares (a) the teacher's 10,000 images per epoch. (e) is `kd-sweeps launch` itself, {len(launches)} times
{spec.search.trials} trials, everything between two trials included.

{table(heads, rows)}

A float32 matrix product of 4096 x 4096 on all cores: {peak:.0f} GFLOP/s ({min(matmul):.0f} to {max(matmul):.0f}).

With the start of `launch` (Python, TensorFlow, the data, compiling) spread over its {spec.search.trials} trials, (e)
takes {whole:.2f} s per trial: {naive.median / whole:.1f} times (a).

Equal results: mean validation accuracy at the same {len(naive.accuracies)} points, initial weights and batch order:
{", ".join(f"{name} {100 * mean:.2f} %" for name, mean in means.items())}; (e) - (a) = {apart:+.2f} points
(allowed: {100 * TOLERANCE:.2f}): {_met(abs(apart) <= 100 * TOLERANCE)}. The loss of the first 100 steps differs by
{max(losses):.1e} relative at most (allowed: {LOSS_TOLERANCE:.0e}): {_met(max(losses) <= LOSS_TOLERANCE)}.

Pass {PASS}: {_met(ratio >= PASS)}. Target {TARGET}: {_met(ratio >= TARGET)}.

ladder (e) / (a) = {ratio:.1f}"""


def _met(reached: bool) -> str:
    return "met" if reached else "MISSED"


def main() -> int:
    options = make_parser(__doc__).parse_args()
    origin, climbed = Origin(), rungs()
    product = Rung("product", "(e) + one single-threaded worker per core: kd-sweeps launch", 1)
    launches, matmul, losses = [], [], []
    with tempfile.TemporaryDirectory() as name, bar() as progress:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = name  # where workers write their logs
        url, log = f"sqlite:///{folder}/ladder.db", folder / "log"
        step = progress.add_task("the teacher", total=1 + REPEATS * (len(climbed) + 2))
        spec = spec_of(IMAGES, TRIALS)
        prepare(url, spec, log)
        progress.advance(step)
        for repeat in range(REPEATS):
            for rung in climbed:
                progress.update(step, description=rung.text)
                answer = climb(rung.name, url, repeat, rung.trials, log)
                rung.seconds += answer["seconds"]
                rung.accuracies.append(answer["accuracies"][0])
                progress.advance(step)
            progress.update(step, description=product.text)
            copy = folder / f"{repeat}.db"
            copy.write_bytes((folder / "ladder.db").read_bytes())  # a consistent copy, since nothing is connected
            launches.append(launch(f"sqlite:///{copy}", os.cpu_count() or 1, log))
            product.seconds.append(launches[-1].steady_s)
            product.accuracies.append(launches[-1].accuracies[repeat])
            progress.advance(step)
            progress.update(step, description="losses and matrix product")
            losses.append(climb("losses", url, repeat, 1, log)["largest"])
            matmul.append(climb("matmul", url, 0, 1, log)["gflops"])
            progress.advance(step)
    text = page(spec, [*climbed, product], launches, losses, matmul)
    write_section("Ladder", f"{origin}\n{text}", path=options.page)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
