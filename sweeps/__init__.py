"""Hyperparameter sweeps for knowledge distillation.

    from sweeps import Sweep

    sweep = Sweep.create("digits-kd", dataset="digits", preset="tiny")
    sweep.run(workers=2)
    print(sweep.best.temperature, sweep.verdict, sweep.headline)

`storage` is a URL as on the command line; None takes KD_SWEEPS_STORAGE, OPTUNA_STORAGE or sqlite:///kd-sweeps.db.
`create_sweep`, `launch`, `best` and `report` are the same as functions, by name.
"""

try:
    from sweeps import report as _room  # noqa: F401 - else the room, once loaded, would replace the function
    from sweeps.python.sweep import Sweep, best, create_sweep, launch, report
except ImportError as error:
    from sweeps.workers.environment import other_packages

    if others := ", ".join(other_packages()):
        raise ImportError(f"{error}; another package of that name may hide ours: {others}") from None
    raise

__all__ = ["Sweep", "best", "create_sweep", "launch", "report"]
