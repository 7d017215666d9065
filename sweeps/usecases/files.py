"""Check a file that a user wants written; used by the core, a trainer and the archive."""

from pathlib import Path

from sweeps.errors import SpecError, SweepError


def check_target(path: Path, *, force: bool, suffix: str = ".keras") -> None:
    """Check that a file can be written; raise SweepError if it exists and force is False, SpecError otherwise.

    suffix: ".keras" for a student, required by Keras; ".npz" for logits; ".kdsweep" for an archive.
    """
    example = {".keras": "student.keras", ".npz": "source-logits.npz", ".kdsweep": "mnist-kd.kdsweep"}[suffix]
    if path.is_dir():
        raise SpecError(f"{path} is a folder; name the file, for example {path / example}")
    if path.suffix != suffix:
        raise SpecError(f"got {str(path)!r}; the file name must end in {suffix}, for example {example}")
    if not path.parent.is_dir():
        raise SpecError(f"no folder {path.parent}; make it with: mkdir -p {path.parent}")
    if path.exists() and not force:
        raise SweepError(f"{path} exists; to replace it, add --force")
