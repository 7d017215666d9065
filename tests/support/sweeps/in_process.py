"""Run the jobs of child processes in this process, without TensorFlow's start, for tests of other things."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def _run_here(
    function: Callable[..., Any],
    *arguments: Any,
    on_step: Callable[[], None],
    on_report: Callable[..., None] | None = None,
    seconds: float | None = None,
) -> Any:
    on_step()
    return function(on_report or (lambda *values: None), *arguments)


@contextmanager
def jobs_in_process(module: str = "sweeps.distill.session") -> Iterator[None]:
    """Run teachers, baselines and measurements of a trainer in this process, with the same results.

    Not for AutoKeras, which seeds and clears Keras globally.

    Args:
        module: the one whose jobs run here.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{module}.run_in_subprocess", _run_here)
        patch.setattr(f"{module}.silence", lambda: None, raising=False)  # this process keeps its outputs
        yield
