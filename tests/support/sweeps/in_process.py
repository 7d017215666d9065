"""Jobs of child processes run in this process, which saves tests about other subjects TensorFlow's start."""

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
    """Teachers, baselines and measurements of a trainer run in this process: the same functions, the same results.

    Not for AutoKeras, which seeds and clears Keras globally.

    Args:
        module: whose jobs they are, if they are others.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{module}.run_in_subprocess", _run_here)
        patch.setattr(f"{module}.silence", lambda: None, raising=False)  # this process keeps its outputs
        yield
