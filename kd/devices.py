"""Find the GPUs of this machine; apart, since nothing else of kd is imported to ask for them."""

import os
from pathlib import Path

from kd.tools.processes import Report, run_in_subprocess, silence

_FILES = ("nvidia[0-9]*", "kfd", "dxg")  # of NVIDIA, of AMD, and of Windows under Linux
_SECONDS = 120.0


def gpu_files() -> list[Path]:
    """Return the files by which this machine's GPUs are reached; without one no TensorFlow on Linux sees any."""
    return sorted(path for pattern in _FILES for path in Path("/dev").glob(pattern))


def gpus_seen() -> list[str]:
    """Return the names of the GPUs that TensorFlow sees here, in the order in which `launch --gpus` counts them.

    A child process asks: importing TensorFlow takes seconds, and it keeps the devices that it has opened.

    Raises:
        Exception: what TensorFlow raised.
    """
    names: list[str] = run_in_subprocess(_list_gpus, on_step=lambda: None, seconds=_SECONDS)
    return names


def _list_gpus(report: Report) -> list[str]:
    # As the workers of a launch count them: like nvidia-smi, not the fastest first.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    silence()  # TensorFlow says whatever it does not find
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    return [
        str(tf.config.experimental.get_device_details(device).get("device_name", device.name)) for device in devices
    ]
