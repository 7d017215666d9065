"""Accuracies drawn from the recorded surfaces: their noise and their means."""

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.paths import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "bench"))  # bench/ is not a package

from support.page import FOLDER
from support.surfaces import Surface, read_surface, world


@pytest.fixture(scope="module")
def surfaces() -> dict[str, Surface]:
    return {name: read_surface(FOLDER / f"surface-{name}.csv") for name in ("mnist", "cifar10")}


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_trainings_vary_as_the_recorded_ones_do(surfaces: dict[str, Surface], name: str) -> None:
    surface, simulation = surfaces[name], world(surfaces[name])
    cells = np.stack(np.meshgrid(*simulation.axes, indexing="ij"), axis=-1)[:, :-1].reshape(1, -1, 2)
    trained = simulation.trained(np.repeat(cells, 400, axis=0), 2, np.random.default_rng(0))
    recorded = 100 * surface.last[..., :-1].reshape(len(surface.last), -1)
    assert trained.std(axis=0).mean() == pytest.approx(recorded.std(axis=0, ddof=1).mean(), rel=0.05)
    # the spread of the offset that a seed adds to all cells
    assert trained.mean(axis=1).std() == pytest.approx(recorded.mean(axis=1).std(ddof=1), rel=0.05)
    assert trained.mean(axis=(0, 2)) == pytest.approx(recorded.mean(axis=0), abs=0.4)


def test_a_file_is_read_into_the_cells_that_its_lines_name(tmp_path: Path) -> None:
    path = tmp_path / "surface.csv"
    lines = [f"{t},{a},{seed},0.1,0.{seed}{a}{t}" for t in (4, 1, 2) for seed in (1, 0) for a in (0, 1)]
    path.write_text("\n".join(["# dataset: none", "temperature,alpha,seed,epoch_1,epoch_2", *lines]) + "\n")
    surface = read_surface(path)
    assert surface.temperatures.tolist() == [1, 2, 4]
    assert surface.alphas.tolist() == [0, 1]
    of_each_seed = [[[float(f"0.{seed}{a}{t}") for a in (0, 1)] for t in (1, 2, 4)] for seed in (0, 1)]
    assert surface.last.tolist() == of_each_seed


def test_between_the_cells_the_mean_is_interpolated(surfaces: dict[str, Surface]) -> None:
    source = world(surfaces["mnist"])
    logs, alphas = source.axes
    between = (logs[2] + logs[3]) / 2, (alphas[4] + alphas[5]) / 2
    places = np.array([[(logs[3], alphas[5]), (logs[-1], alphas[0]), between]])
    expected = [source.mean[3, 5], source.mean[-1, 0], source.mean[2:4, 4:6].mean()]
    assert source.expected(places)[0] == pytest.approx(expected)
