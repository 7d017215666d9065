"""What can go wrong with a storage, each as one line; what to do next is a value, which `sweeps.hints` words."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NextStep:
    """Something to do about an error: `action` on a sweep.

    Attributes:
        purpose: what leads over to the command, such as "to make it again, type".
        sweep: its name, NAME where it is any, "" where the action is on the whole storage.
    """

    purpose: str
    action: Literal["cancel", "create", "delete", "launch", "reap", "report", "resume", "retry", "storage upgrade"]
    sweep: str = "NAME"


class StorageError(Exception):
    """The storage cannot do what was asked, and says why. next_steps: what may be done about it, best first."""

    def __init__(self, text: str, *next_steps: NextStep) -> None:
        super().__init__(text)
        self.next_steps = next_steps


class UrlError(StorageError):
    """The URL is malformed, or names a kind of database that kd-sweeps does not use: a usage error."""


class Unreachable(StorageError):
    """The database cannot be reached, opened or written."""


class StorageFull(Unreachable):
    """The disk below the database is full; reading still works. fault: the text without what to type."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}, and type the command again")
        self.fault = fault


class NotAStorage(StorageError):
    """What the URL names is missing, is no database, or holds no kd-sweeps tables of this version."""


class SweepNotFound(StorageError):
    """No sweep has that name."""


class SpecConflict(StorageError):
    """A sweep of that name exists already, with another spec."""


class RevisionRefused(StorageError):
    """Tasks cannot be added, or tried again, as the sweep stands now."""


class SweepInUse(StorageError):
    """Workers hold good leases on tasks of the sweep."""


class StudyMissing(StorageError):
    """An Optuna study, or one of its trials, was deleted by another tool."""


class StudyMixed(StorageError):
    """Another tool added trials to a study of the sweep, with parameters of another kind."""


class SamplerUnusable(StorageError):
    """A sampler that cannot be made here, or that is none."""


class ParametersRefused(StorageError):
    """Parameters handed to a study are not in its search space."""


class RecordBroken(StorageError):
    """A JSON value of ours cannot be read any more."""


class ArchiveBroken(StorageError):
    """A file is no archive of a sweep that this version reads, or it is damaged."""


class BlobCorrupt(StorageError):
    """Stored bytes are missing, or their SHA-256 is not their name."""
