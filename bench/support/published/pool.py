"""Train in several processes at once, each with one TensorFlow thread; a student starts once its teacher is there."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Collection, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

from support.published.learning import Learner, all_images, kept
from support.published.records import Lines, Result
from support.published.trainings import Training
from support.training_pool import end_with_parent, noise_into

# Seconds of one epoch of all 60,000 images on one core of an Intel Xeon (Sapphire Rapids) that others used as well, so
# an upper limit; the plan takes the CSV's own seconds as soon as there are any.
SECONDS_PER_EPOCH = {
    "keras-teacher": 290.0,
    "keras-student": 3.5,
    "mlp-30": 0.15,
    "mlp-300": 1.3,
    "mlp-800": 8.0,
    "dropout-1200": 11.3,
    "dropout-300": 4.0,
    "jitter-1200": 10.0,
}


def missing(wanted: Sequence[Training], lines: Lines, folder: Path) -> list[Training]:
    """Return what is still to be trained, in the order of `wanted`.

    A recorded training is not trained again, with one exception: a teacher whose students are missing, and whose logits
    are not in the folder, because the CSV came from elsewhere.
    """
    students = [one for one in wanted if one not in lines]
    asked = {one.teacher_key for one in students if one.teacher}
    return [
        one
        for one in wanted
        if one not in lines or ((one.name, one.seed) in asked and not kept(folder, one.name, one.seed).exists())
    ]


def next_ready(waiting: Sequence[Training], folder: Path) -> Training | None:
    """Return the first training whose teacher has left its logits, or that has no teacher."""
    for one in waiting:
        if not one.teacher or kept(folder, *one.teacher_key).exists():
            return one
    return None


def train(
    todo: Sequence[Training],
    teaching: Collection[tuple[str, int]],
    folder: Path,
    *,
    processes: int,
    dataset: str = "mnist",
) -> Generator[tuple[Training, Result], None, None]:
    """Yield each training with its result as it ends. Closing the iterator ends the processes at once.

    Call `sweeps.workers.environment.one_thread` first: the processes inherit its environment.

    Args:
        todo: what to train; teachers that are missing are among it.
        teaching: name and seed of those that must leave their logits.
        folder: for logits and the libraries' log; it exists.
        processes: at most so many at once.
        dataset: whose published training images are trained on, and whose test images count.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process died.
        KdError, PublishedError: a training failed.
    """
    waiting, running = list(todo), dict[Future[Result], Training]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (folder, dataset)) as pool:
        try:
            while waiting or running:
                while len(running) < processes and (one := next_ready(waiting, folder)):
                    waiting.remove(one)
                    # Ctrl-C is for us, who then end them: ignored while they start, it stays ignored in them.
                    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
                    try:
                        running[pool.submit(_train, one, (one.name, one.seed) in teaching)] = one
                    finally:
                        signal.signal(signal.SIGINT, handler)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():  # what is unfinished begins again
                process.terminate()
            raise


def seconds_of(training: Training, lines: Lines, *, cpu: bool) -> float:
    """Return how long a training takes: the median second per epoch of its network in the CSV, else the table's.

    Args:
        training: the one in question.
        lines: what is recorded.
        cpu: count CPU seconds, as on idle cores, and not those of the wall clock, with whatever ran beside.
    """
    found = sorted(
        (result.cpu_s if cpu else result.train_s) / one.epochs
        for one, result in lines.items()
        if one.network == training.network
    )
    each = found[len(found) // 2] if found else SECONDS_PER_EPOCH[training.network]
    return training.epochs * each


_own: Learner | None = None  # of this process, once `_begin` has run in it


def _begin(folder: Path, dataset: str) -> None:
    global _own
    noise_into(folder / "log")
    threading.Thread(target=end_with_parent, daemon=True).start()
    _own = Learner(all_images(dataset), folder)


def _train(training: Training, teaches: bool) -> Result:
    assert _own is not None
    return _own.train(training, teaches=teaches)
