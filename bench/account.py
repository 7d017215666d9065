"""Where the seconds of one search trial go, between the hardware's own speed and what `kd-sweeps launch` takes.

    python bench/account.py [--images N]

One trial is W1 of bench/ladder.py, in one process with one thread, as a worker trains. Prints the table that
bench/README.md keeps; run it on a machine that is otherwise idle.
"""

import argparse
import glob
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from sweeps.workers.environment import one_thread

STARTED = time.perf_counter()
one_thread()  # before TensorFlow is imported

import numpy as np
import tensorflow as tf
from ladder import STUDENT_MACS

from kd import DistillConfig, StudentTrainer, TrainingConfig, load
from support.page import Origin, table

IMPORTED = time.perf_counter()
POINT = DistillConfig(temperature=4.0, alpha=0.3)
KINDS = {  # what an operation's name has in it, first match; the profiler names kernels so
    "Conv2DBackpropInput": "convolutions, backward to their inputs",
    "Conv2DBackpropFilter": "convolutions, backward to their weights",
    "Conv2D": "convolutions, forward",
    "MaxPool": "pooling",
    "MatMul": "the dense layer",
    "LeakyRelu": "activations",
}


def kernels(trainer: StudentTrainer) -> dict[str, float]:
    """Seconds of one epoch in each kind of TensorFlow's kernels, from its own profiler."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        trainer._run_epoch(0, 0)
        tf.profiler.experimental.stop()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        space = xplane_pb2.XSpace()
        space.ParseFromString(Path(path).read_bytes())
    seconds: Counter[str] = Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                kind = next((KINDS[part] for part in KINDS if part in name.rpartition("/")[2]), None)
                if "while" in name and kind:
                    seconds[kind] += event.duration_ps / 1e12
    return dict(seconds)


def timed(call: Callable[[], Any], repeats: int = 5) -> float:
    """Median seconds."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def product_gflops() -> float:
    """Of a large float32 matrix product on one thread."""
    matrix = tf.random.normal((2048, 2048))
    product = tf.function(lambda: tf.matmul(matrix, matrix))
    product()
    return 2 * 2048**3 / timed(product) / 1e9


def main() -> int:
    """Measure one thing after another, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000, metavar="N", help="training images (default: 50,000)")
    options = parser.parse_args()
    origin, began = Origin(), time.perf_counter()
    data = load("mnist", train_images=options.images)
    read = time.perf_counter() - began
    logits = np.random.default_rng(0).normal(size=(options.images, 10)).astype(np.float32)  # their values cost alike
    training = TrainingConfig(epochs=3)
    trainer = StudentTrainer(data, student="keras-student", teacher_logits=logits, training=training)
    began = time.perf_counter()
    trainer.train(POINT, seed=0)
    first = time.perf_counter() - began

    whole = timed(lambda: trainer.train(POINT, seed=0))
    epoch = timed(lambda: trainer._run_epoch(0, 0))
    validation = timed(lambda: trainer.logits(data.validation))
    reset = timed(lambda: trainer._reset(POINT, 0))
    in_kernels = kernels(trainer)
    gflop = 2 * 3 * STUDENT_MACS * (options.images // 64 * 64) / 1e9
    ideal = 3 * gflop / product_gflops()

    rows = [("the same arithmetic at the speed of a large matrix product", ideal)]
    rows += [(f"{kind}: TensorFlow's kernels", 3 * in_kernels.get(kind, 0.0)) for kind in KINDS.values()]
    others = epoch - sum(in_kernels.values())
    rows.append(("all other operations of a step: gathering, loss, Adam, the loop", 3 * others))
    rows.append(("validation, three times 10,000 images", 3 * validation))
    rows.append(("back to the initial weights", reset))
    rows.append(("between those", whole - 3 * epoch - 3 * validation - reset))
    rows.append(("one trial in one worker", whole))
    once = [
        ("imports", IMPORTED - STARTED),
        ("reading the data", read),
        ("compiling, in the first trial", first - whole),
    ]
    print(origin)
    print(table(("seconds of one trial", "s"), [(text, f"{seconds:.3f}") for text, seconds in rows]))
    print()
    print(table(("seconds once per worker", "s"), [(text, f"{seconds:.1f}") for text, seconds in once]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
