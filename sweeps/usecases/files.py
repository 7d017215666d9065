"""A file that a user names to be written. Small: the core, a trainer and the archive ask it alike."""

from pathlib import Path

from sweeps.errors import SpecError, SweepError


def check_target(path: Path, *, force: bool, suffix: str = ".keras") -> None:
    """Check that a file may be written there; raise SweepError if one is there and force is False, else a SpecError.

    suffix: of a student, which Keras loads under this name only; of logits ".npz"; of an archive ".kdsweep".
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
