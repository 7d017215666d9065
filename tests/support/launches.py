"""Launches in a separate process, whose workers' runner takes milliseconds and misbehaves on request."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import sqlalchemy

from storage.url import plain
from tests.support.paths import REPOSITORY

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
"""Variables that a worker sets, perhaps one that ran earlier in this process."""

# Runs first in every Python process of such a test. `misbehave` is code of the test: it may hang, exit or raise.
_CUSTOMIZE = """
import os, signal, sys, time
from pathlib import Path

HOME = Path({home!r})

def once(name):
    try:
        os.close(os.open(HOME / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def misbehave(claim, steps):
{misbehave}

if "sweeps.cli" in " ".join(sys.orig_argv) and "worker" in sys.orig_argv:
    from tests.support.sweeps.quadratic_worker import quadratic
    from sweeps.workers.worker import Worker

    def run(claim, params, steps):
        misbehave(claim, steps)
        return quadratic(claim, params, steps, seconds=0.02)

    Worker._task_runner = lambda self: run
"""


# For `misbehave`: each worker writes its environment for `kept_environments`, and waits so that the others get a task.
KEEP_ENVIRONMENT = """
import json
if once(f"environment-{os.getpid()}.json"):
    (HOME / f"environment-{os.getpid()}.json").write_text(json.dumps(dict(os.environ)))
    until = time.monotonic() + 60
    while len(list(HOME.glob("environment-*"))) < 2 and time.monotonic() < until:
        steps()
        time.sleep(0.02)
"""


def kept_environments(home: Path) -> list[dict[str, str]]:
    """Return the environment of each worker that ran `KEEP_ENVIRONMENT`."""
    return [json.loads(path.read_text()) for path in home.glob("environment-*.json")]


def environment(home: Path, url: sqlalchemy.URL, misbehave: str = "pass") -> dict[str, str]:
    """Return the environment of a launch; misbehave: Python that sees `claim`, `steps` and `once(name)`."""
    home.mkdir(parents=True, exist_ok=True)
    body = textwrap.indent(textwrap.dedent(misbehave), "    ")
    (home / "sitecustomize.py").write_text(_CUSTOMIZE.format(home=str(home), misbehave=body))
    folders = {"XDG_STATE_HOME": str(home / "state"), "PYTHONPATH": os.pathsep.join(map(str, (home, REPOSITORY)))}
    return os.environ | {"KD_SWEEPS_STORAGE": plain(url)} | folders


def start_launch(env: dict[str, str], *, workers: int = 2, name: str = "s") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "sweeps.cli", "launch", name, "--workers", str(workers)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def launched(env: dict[str, str], *, workers: int = 2, name: str = "s", timeout: float = 120) -> tuple[int, str]:
    """Run a launch to its end; return exit code and output."""
    process = start_launch(env, workers=workers, name=name)
    out, _ = process.communicate(timeout=timeout)
    return process.returncode, out
