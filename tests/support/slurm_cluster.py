"""A real Slurm of one machine for tests: controller and node from Debian's packages, on separate ports.

Without munge: Slurm signs with its own key. Its programs reach the daemon with the key through a fixed socket under
/run, so a machine runs one such cluster at a time. Imports nothing from the product.
"""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from tests.support.ports import free_ports

_SOCKETS = [Path(f"/run/{name}/sack.socket") for name in ("slurm", "slurmctld")]
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
CPUS = 6  # declared, whatever the machine has: the number of members that run at once

_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/slurm
CredType=auth/slurm
AuthInfo=use_client_ids,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
GresTypes=gpu
MailProg=/bin/true
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# cred_expire: seconds until a requeued job may start again (default: two minutes). It then starts with the scheduler's
# next round (default: once a minute).


class SlurmCluster:
    """A controller and its one node, in `folder`; `start` starts them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "state").mkdir(parents=True)
        (folder / "spool").mkdir()
        key = folder / "slurm.key"  # next to slurm.conf, where Slurm looks for it
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        controller_port, node_port = free_ports(2)
        (folder / "slurm.conf").write_text(
            _CONFIGURATION.format(
                host=socket.gethostname().partition(".")[0],
                user=getpass.getuser(),
                folder=folder,
                controller_port=controller_port,
                node_port=node_port,
                cpus=CPUS,
            )
        )
        # Two fake devices: Slurm allocates them all the same.
        (folder / "gres.conf").write_text("".join(f"Name=gpu File=/dev/{name}\n" for name in ("null", "zero")))
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment in which Slurm's programs find this cluster."""
        return {"SLURM_CONF": str(self._folder / "slurm.conf")}

    def run(self, *command: str) -> str:
        """Return the output of one of Slurm's programs."""
        process = subprocess.run(
            command, env=os.environ | self.variables, capture_output=True, text=True, timeout=60, check=False
        )
        assert process.returncode == 0, f"{command}: {process.stderr}"
        return process.stdout

    def start(self) -> None:
        """Start both daemons; return once the node accepts jobs."""
        for daemon in ("slurmctld", "slurmd"):
            self.start_daemon(daemon)
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(AssertionError):
                if "idle" in self.run("sinfo", "--noheader", "--format=%T"):
                    return
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def start_daemon(self, name: str) -> None:
        """Start "slurmctld" or "slurmd"; it resumes where it was stopped."""
        with (self._folder / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [name, "-D"], env=os.environ | self.variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def stop_daemon(self, name: str) -> None:
        """Stop "slurmctld" or "slurmd"; its state is kept."""
        daemon = self._daemons.pop(name)
        daemon.terminate()
        daemon.wait(60)

    def members(self, *, job: int | None = None) -> dict[str, str]:
        """Return the members that have not ended, such as "12_3", with their states."""
        output = self.run("squeue", "--noheader", "--array", "--format=%F_%K %F %T")
        rows = [line.split() for line in output.splitlines()]
        return {member: state for member, array, state in rows if job in (None, int(array))}

    def clear(self) -> None:
        """Cancel every job and wait until all have ended."""
        if "slurmctld" not in self._daemons:
            self.start_daemon("slurmctld")
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(AssertionError):  # the controller may still be starting
                for member in (left := self.members()):
                    self.run("scancel", "--quiet", "--signal=KILL", "--full", member)
                    self.run("scancel", "--quiet", member)
                if not left:
                    return
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)

    def stop(self) -> None:
        """End every job, then the node and the controller."""
        try:
            self.clear()
        finally:
            for name in ("slurmd", "slurmctld"):
                if name in self._daemons:
                    self.stop_daemon(name)

    def logs(self) -> str:
        """Return the end of both logs."""
        return "\n".join(path.read_text()[-2000:] for path in sorted(self._folder.glob("slurm*.log")))


class NotPossible(Exception):
    """Slurm cannot run here; the message says why, and what to type."""


@contextlib.contextmanager
def running_cluster() -> Iterator[SlurmCluster]:
    """Start a cluster in a temporary folder once no other test has one; removed at the end.

    Raises:
        NotPossible: Slurm is not installed, or this machine belongs to a cluster.
    """
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        raise NotPossible(f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client")
    if os.geteuid() != 0:
        raise NotPossible("Slurm's daemons write below /run: run these tests as root, for example in a container")
    # Not pytest's own temporary folder: another session would remove it, and Slurm limits the length of paths.
    temporary = Path(tempfile.gettempdir())
    with (
        filelock.FileLock(temporary / "kd-sweeps-slurm.lock"),
        tempfile.TemporaryDirectory(prefix="kd-sweeps-slurm-") as folder,
    ):
        if any(_answers(path) for path in _SOCKETS):
            raise NotPossible("another Slurm runs on this machine, and these tests would replace its socket under /run")
        cluster = SlurmCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        return True
    return False
