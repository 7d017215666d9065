"""A Slurm on this machine for the tests of its engine."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.support.slurm_cluster import NotPossible, SlurmCluster, running_cluster


@pytest.fixture(scope="module")
def _cluster() -> Iterator[SlurmCluster]:
    with contextlib.ExitStack() as stack:
        try:
            cluster = stack.enter_context(running_cluster())
        except NotPossible as why:
            pytest.skip(str(why))
        yield cluster


@pytest.fixture
def slurm(_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmCluster]:
    """Yield a running Slurm for this process and its children; without jobs before and after the test."""
    for name, value in _cluster.variables.items():
        monkeypatch.setenv(name, value)
    yield _cluster
    _cluster.clear()
