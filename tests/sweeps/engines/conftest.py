"""A Slurm of this machine for the tests of its engine."""

from collections.abc import Iterator

import pytest

from tests.support.slurm_cluster import SlurmCluster, missing_programs, running_cluster


@pytest.fixture(scope="session")
def _cluster() -> Iterator[SlurmCluster]:
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client")
    with running_cluster() as cluster:
        yield cluster


@pytest.fixture
def slurm(_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """A running Slurm, for this process and those that it starts; without a job before the test and after it."""
    for name, value in _cluster.variables.items():
        monkeypatch.setenv(name, value)
    yield _cluster
    _cluster.clear()
