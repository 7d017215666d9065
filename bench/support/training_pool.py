"""Train students in several processes at once, each with one compiled step and one TensorFlow thread."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kd.config import DistillConfig, TeacherResult, TrainingConfig, TrainResult
from kd.data.datasets import Dataset
from kd.subprocesses import Report
from support.surfaces import Point
from sweeps.plan.seeds import derive


@dataclass(frozen=True, eq=False)
class Setting:
    """The settings that all trainings of a surface share.

    Attributes:
        seed: of the spec; the seeds of students are derived from it.
        dataset: trained and validated on.
        student: name of a model.
        logits: of the teacher, float32, shape (training images, classes).
        training: epochs, batch size, learning rate and its schedule.
        log: where the libraries' own noise goes.
    """

    seed: int
    dataset: Dataset
    student: str
    logits: npt.NDArray[np.float32]
    training: TrainingConfig
    log: Path


def teach(
    report: Report, log: Path, dataset: Dataset, model: str, training: TrainingConfig, seed: int
) -> TeacherResult:
    """Train a teacher and return it with its logits; for `kd.subprocesses.run_in_subprocess`."""
    from kd.teachers.trained import train_teacher

    noise_into(log)
    return train_teacher(
        dataset,
        model=model,
        training=training,
        seed=seed,
        on_epoch=lambda epoch, score: report((epoch + 1) / training.epochs, f"validation {score:.4f}"),
    )


def train_points(
    setting: Setting, points: Sequence[Point], *, processes: int
) -> Generator[tuple[Point, TrainResult], None, None]:
    """Yield the result of each point, in the order in which they end. Closing the iterator ends the processes at once.

    Call `sweeps.workers.environment.one_thread` first: the processes inherit its environment.

    Raises:
        concurrent.futures.process.BrokenProcessPool: a process died.
        KdError: a training failed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (setting,)) as pool:
        # Ctrl-C is for us, who then end them: ignored while they start, it stays ignored in them.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            futures = [pool.submit(_train, point) for point in points]
        finally:
            signal.signal(signal.SIGINT, handler)
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():  # trainings of seconds are not worth waiting for
                process.terminate()
            raise


_own: tuple[int, Any] | None = None  # the seed of the spec and the trainer of this process, once `_begin` has run in it


def _begin(setting: Setting) -> None:
    global _own
    noise_into(setting.log)
    threading.Thread(target=end_with_parent, daemon=True).start()
    from kd.training.trainer import StudentTrainer  # TensorFlow: only here, where its number of threads is set

    trainer = StudentTrainer(
        setting.dataset,
        student=setting.student,
        teacher_logits=setting.logits,
        training=setting.training,
        validations=setting.training.epochs,
    )
    _own = (setting.seed, trainer)


def _train(point: Point) -> tuple[Point, TrainResult]:
    assert _own is not None
    (seed, trainer), (temperature, alpha, number) = _own, point
    # Common random numbers: a seed gives the same initial weights and order of images in every cell.
    student_seed = derive(seed, "student", "surface", number)
    return point, trainer.train(DistillConfig(temperature=temperature, alpha=alpha), seed=student_seed)


def noise_into(log: Path) -> None:
    """Redirect standard error to a file: TensorFlow writes to the file descriptor, not to sys.stderr."""
    with log.open("ab") as file:
        os.dup2(file.fileno(), 2)


def end_with_parent() -> None:
    """End this process as soon as its parent is gone; for a thread of its own."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])  # readable as soon as the parent is gone, kill -9 included
    os._exit(1)
