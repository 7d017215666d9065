"""Errors of a storage, each with a one-line message; `sweeps.hints` turns their `NextStep`s into commands."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NextStep:
    """A remedy for an error: `action` on a sweep.

    Attributes:
        purpose: the words before the command, such as "to recreate it, type".
        sweep: its name; NAME for any sweep; "" for an action on the whole storage.
    """

    purpose: str
    action: Literal["cancel", "create", "delete", "launch", "reap", "report", "resume", "retry", "storage upgrade"]
    sweep: str = "NAME"


class StorageError(Exception):
    """The storage cannot do what was requested. next_steps: remedies, best first."""

    def __init__(self, text: str, *next_steps: NextStep) -> None:
        super().__init__(text)
        self.next_steps = next_steps


class UrlError(StorageError):
    """The URL is malformed, or names a database that kd-sweeps does not support: a usage error."""


class Unreachable(StorageError):
    """The database cannot be reached, opened or written."""


class StorageFull(Unreachable):
    """The database's disk is full; reading still works. fault: the message without the remedy."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}, and type the command again")
        self.fault = fault


class NotAStorage(StorageError):
    """The URL leads to no database, or to one without kd-sweeps tables of this version."""


class SweepNotFound(StorageError):
    """No sweep has that name."""


class SpecConflict(StorageError):
    """A sweep of that name exists already, with another spec."""


class RevisionRefused(StorageError):
    """Tasks cannot be added or retried in the sweep's present state."""


class SweepInUse(StorageError):
    """Workers hold valid leases on tasks of the sweep."""


class StudyMissing(StorageError):
    """An Optuna study, or one of its trials, was deleted by another tool."""


class StudyMixed(StorageError):
    """Another tool added trials to a study of the sweep, with parameters of another kind."""


class SamplerUnusable(StorageError):
    """The sampler cannot be created here, or is not a sampler."""


class ParametersRefused(StorageError):
    """Parameters lie outside the search space of their study."""


class RecordBroken(StorageError):
    """A stored JSON value has become unreadable."""


class ArchiveBroken(StorageError):
    """The file is damaged, or not a sweep archive that this version reads."""


class BlobCorrupt(StorageError):
    """Stored bytes are missing, or do not match the SHA-256 they are stored under."""
