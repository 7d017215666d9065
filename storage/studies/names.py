"""The names of a sweep's Optuna studies."""


def study_name(sweep: str, stage: str) -> str:
    """The Optuna study of a stage: the sweep's own name for search, NAME.STAGE for the others.

    Siblings, because one trial without parameters in the search study would empty Optuna's search space.
    """
    return sweep if stage == "search" else f"{sweep}.{stage}"


def of_sweep(study: str, sweep: str) -> bool:
    """Whether a study is one of this sweep's."""
    return study == sweep or study.startswith(f"{sweep}.")
