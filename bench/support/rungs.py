"""The rungs of bench/ladder.py up to the compiled step: W1 trials in one process, as an Optuna objective on SQLite.

    python bench/support/rungs.py naive|cached|steps|compiled|losses|matmul URL FIRST COUNT

URL is a storage with the sweep "ladder", whose source teacher is trained. Teacher, logits, points and seed are from it,
so that every rung trains the same students. Prints one line of JSON.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import keras
import numpy as np
import optuna
import tensorflow as tf

from kd import DistillConfig, Distiller, StudentTrainer, TrainingConfig, build, load
from storage.db.engine import open_engine
from storage.records import artifacts, queries
from storage.url import resolve
from sweeps.plan.jobs import SearchTask, TeacherOutcome, TeacherTask, read_finished, read_payload
from sweeps.spec.model import Spec
from sweeps.spec.stored import stored_spec

NAME = "ladder"
LOSSES = 100  # steps whose losses are compared
STEPS_PER_EXECUTION = 50


class Work:
    """Shared by all rungs: the images, the teacher, and the points and the one seed of the search."""

    def __init__(self, url: str) -> None:
        engine = open_engine(resolve(url), read_only=True)
        sweep = queries.find_sweep(engine, NAME)
        self.spec: Spec = stored_spec(sweep)
        self.role = self.spec.source
        self.data = load(self.role.dataset, train_images=self.role.images)
        taught = queries.task_records(engine, sweep.id, phase="teachers:source", state="done")
        (teacher,) = read_finished(taught, TeacherTask, TeacherOutcome)
        digests = teacher.outcome.blobs
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "teacher.keras"
            path.write_bytes(artifacts.get(engine, digests["model"]))
            self.teacher: keras.Model = keras.saving.load_model(path, compile=False)
        logits = np.frombuffer(artifacts.get(engine, digests["logits"]), np.float32)
        self.logits = logits.reshape(self.role.images, self.data.classes)
        rows = queries.task_records(engine, sweep.id, phase="search")
        searched = (read_payload(row.stage, row.payload, key=row.key) for row in rows)
        tasks = [task for task in searched if isinstance(task, SearchTask)]
        self.points = [task.sobol.as_dict() for task in tasks if task.sobol is not None]
        self.seed = tasks[0].seed
        self.rate, self.batch = self.spec.training.learning_rate, self.spec.training.batch_size
        engine.dispose()

    def student(self) -> keras.Model:
        return build(self.role.student, self.data.input_shape, self.data.classes, self.seed)

    def order(self, epoch: int) -> Any:
        """Return the indices of an epoch's images in the order of the product, without the last partial batch."""
        order = np.random.default_rng((self.seed, epoch)).permutation(self.role.images)
        return order[: self.role.images // self.batch * self.batch]

    def trainer(self) -> StudentTrainer:
        training = TrainingConfig(epochs=self.role.epochs, batch_size=self.batch, learning_rate=self.rate)
        return StudentTrainer(self.data, student=self.role.student, teacher_logits=self.logits, training=training)


def naive_model(work: Work, student: keras.Model, point: dict[str, float]) -> keras.Model:
    """Build Keras' own Distiller. Its default loss would apply neither softmax nor T^2, so the loss is explicit."""
    loss = keras.distillation.LogitsDistillation(temperature=point["temperature"], loss=keras.losses.KLDivergence())
    model = keras.distillation.Distiller(
        teacher=work.teacher, student=student, distillation_losses=loss, student_loss_weight=point["alpha"]
    )
    hard = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(work.rate), loss=hard, metrics=["accuracy"])
    return model


def cached_model(work: Work, student: keras.Model, point: dict[str, float], steps: int) -> keras.Model:
    model = Distiller(student=student, **point)
    model.compile(optimizer=keras.optimizers.Adam(work.rate), metrics=["accuracy"], steps_per_execution=steps)
    return model


Train = Callable[[dict[str, float]], float]
"""Trains one student at a point and returns its validation accuracy."""


def fitted(work: Work, make: Callable[..., keras.Model], *, with_logits: bool) -> Train:
    """Train a fresh model per trial by `fit`; validate the student alone once per epoch, as in every rung."""
    train, validation = work.data.train, work.data.validation

    def run(point: dict[str, float]) -> float:
        student = work.student()
        model = make(work, student, point)
        accuracy = 0.0
        for epoch in range(work.role.epochs):
            order = work.order(epoch)
            labels = train.labels[order]
            targets = (labels, work.logits[order]) if with_logits else labels
            model.fit(train.images[order], targets, batch_size=work.batch, shuffle=False, verbose=0)
            predicted = student.predict(validation.images, batch_size=500, verbose=0).argmax(axis=-1)
            accuracy = float(np.mean(predicted == validation.labels))
        return accuracy

    return run


def compiled(work: Work) -> Train:
    """Train all trials with one compiled step, which is compiled here, in a training that is not timed."""
    trainer = work.trainer()

    def run(point: dict[str, float]) -> float:
        return trainer.train(DistillConfig(**point), seed=work.seed).val_accuracy

    run(work.points[-1])
    return run


def optimize(work: Work, train: Train, first: int, count: int) -> dict[str, Any]:
    """Run `count` trials from point `first` as users do; return the seconds of each, including Optuna's."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    (t_low, t_high), (a_low, a_high) = work.spec.search.temperature, work.spec.search.alpha

    def objective(trial: optuna.Trial) -> float:
        temperature = trial.suggest_float("temperature", t_low, t_high, log=True)
        return train({"temperature": temperature, "alpha": trial.suggest_float("alpha", a_low, a_high)})

    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(storage=f"sqlite:///{folder}/study.db", direction="maximize")
        for point in work.points[first : first + count]:
            study.enqueue_trial(point)
        start = time.perf_counter()
        study.optimize(objective, n_trials=count, callbacks=[lambda *_: ends.append(time.perf_counter())])
        accuracies = [trial.value for trial in study.trials]
    return {"seconds": np.diff([start, *ends]).tolist(), "accuracies": accuracies}


def losses(work: Work, point: dict[str, float]) -> dict[str, Any]:
    """Return the largest relative difference between the losses of the naive model and the product."""
    trainer, train = work.trainer(), work.data.train
    trainer.train(DistillConfig(**point), seed=work.seed)
    model = naive_model(work, work.student(), point)
    batches = work.order(0).reshape(-1, work.batch)[:LOSSES]
    # Single steps have no public interface.
    trainer._reset(work.seed, trainer._training)
    trainer._batches.shuffle(work.seed, 0)
    ours = [float(trainer._run_steps(step, 1)) for step in range(len(batches))]
    theirs = []
    for batch in batches:
        model.reset_metrics()  # train_on_batch returns a mean since the last reset
        theirs.append(float(model.train_on_batch(train.images[batch], train.labels[batch], return_dict=True)["loss"]))
    return {"largest": float(np.max(np.abs(np.subtract(ours, theirs)) / np.abs(theirs)))}


def matmul() -> dict[str, Any]:
    """Measure GFLOP/s of a large float32 matrix product on all cores."""
    size, repeats = 4096, 8
    matrix = tf.random.normal((size, size))
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    product()
    start = time.perf_counter()
    for _ in range(repeats):
        product()
    return {"gflops": 2 * size**3 * repeats / (time.perf_counter() - start) / 1e9}


def main() -> int:
    rung, url, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result only
        if rung == "matmul":
            answer = matmul()
        else:
            work = Work(url)
            if rung == "losses":
                answer = losses(work, work.points[first])
            else:
                answer = optimize(work, RUNGS[rung](work), first, count)
    print(json.dumps(answer))
    return 0


RUNGS: dict[str, Callable[[Work], Train]] = {
    "naive": lambda work: fitted(work, naive_model, with_logits=False),
    "cached": lambda work: fitted(work, lambda *args: cached_model(*args, steps=1), with_logits=True),
    "steps": lambda work: fitted(work, lambda *args: cached_model(*args, steps=STEPS_PER_EXECUTION), with_logits=True),
    "compiled": compiled,
}


if __name__ == "__main__":
    sys.exit(main())
