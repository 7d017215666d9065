"""The names of a sweep's Optuna studies, and the mark of the trials that kd-sweeps made."""

OWNER_ATTR = "asked_by"
OWNER = "kd-sweeps"


def study_name(sweep: str, stage: str) -> str:
    """Return the Optuna study of a stage: the sweep's own name for search, NAME.STAGE for the others.

    Siblings, because one trial without parameters in the search study would empty Optuna's search space.
    """
    return sweep if stage == "search" else f"{sweep}.{stage}"


def of_sweep(study: str, sweep: str) -> bool:
    """Return whether a study is called as one of this sweep's; whether it is one, `storage.studies.ownership` says."""
    return study == sweep or study.startswith(f"{sweep}.")
