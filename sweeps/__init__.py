"""Hyperparameter sweeps for knowledge distillation.

    from sweeps import create_sweep, launch, best, report

    create_sweep("mnist-kd", preset="quick")
    launch("mnist-kd", workers=2)
    print(best("mnist-kd")["temperature"])
    print(report("mnist-kd"))

`storage` is a URL as on the command line; None takes KD_SWEEPS_STORAGE, OPTUNA_STORAGE or sqlite:///kd-sweeps.db.
"""

from sweeps import report as _room  # noqa: F401 - else the room, once loaded, would replace the function
from sweeps.api import best, create_sweep, launch, report

__all__ = ["best", "create_sweep", "launch", "report"]
