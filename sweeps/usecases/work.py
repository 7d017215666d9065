"""One worker in this process. It imports neither reports nor launches before it needs them, so that it starts fast."""

import contextlib
import os
from pathlib import Path

from sweeps.extensions import KD, is_installed, require, trainer_extra
from sweeps.launch.engine import DETACHED_VARIABLE
from sweeps.launch.local import WORKER_VARIABLE
from sweeps.workers import heartbeat, worker
from sweeps.workers.reach import Reach, open_backend


def work(reach: Reach, name: str, *, log_file: Path | None = None) -> int:
    """Run one worker in this process and return its exit code. A worker of `launch` leaves publishing to it.

    log_file: file with the output of this process, if any.
    """
    calls = heartbeat.take_parent_pipe()
    if not is_installed(trainer_extra(KD)):  # otherwise every trainer can run, and the spec need not be read for this
        with contextlib.closing(open_backend(reach, name)) as backend:
            require(trainer_extra(backend.spec.trainer.kind), "worker")
    launched_as, parent = os.environ.get(WORKER_VARIABLE), os.getppid()
    alone = launched_as is None or DETACHED_VARIABLE in os.environ
    with contextlib.ExitStack() as stack:
        if alone:
            from sweeps.launch.launcher import mirrored

            stack.enter_context(mirrored(reach, name))
        code = worker.run_worker(reach, name, worker=launched_as, log_file=log_file, calls=calls)
    if code == 0 and (alone or os.getppid() != parent):  # the launch has died, and cannot publish
        from sweeps.usecases.run import publish

        publish(reach, name)
    return code
