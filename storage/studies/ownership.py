"""Which sweep owns a study. Optuna identifies studies by name alone, and any program may use any name.

Our studies carry the identity of their sweep, which is unique among all storages. It is written just after creation,
since Optuna cannot create a study with attributes in one transaction. So the name is reserved before in a table of
ours, which tells the remains of a killed creation from another program's study.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, delete, select

from storage.db.transaction import read, retry_transient, write
from storage.errors import SpecConflict
from storage.studies.space import study_name
from storage.tables import reserved_studies, revisions, sweeps
from storage.url import masked

if TYPE_CHECKING:  # storage.studies.studies imports Optuna, which costs a second
    from storage.studies.studies import Studies

IDENTITY_ATTR = "identity"


@dataclass(frozen=True)
class Owner:
    """A sweep as recorded in its studies.

    fingerprints: of all its specs. Studies of older versions carry one of them instead of an identity.
    """

    sweep: str
    identity: str
    fingerprints: frozenset[str] = field(default=frozenset())

    def owns(self, study: str, attrs: Mapping[str, Any]) -> bool:
        """Return whether the sweep owns a study. The name must match as well: a copy has the same attributes."""
        if IDENTITY_ATTR in attrs:
            is_marked = bool(attrs[IDENTITY_ATTR] == self.identity)
        else:
            is_marked = attrs.get("sweep") == self.sweep and attrs.get("fingerprint") in self.fingerprints
        return is_marked and study == study_name(self.sweep, str(attrs.get("stage")))


@retry_transient()
def owner_of(engine: Engine, sweep_id: int) -> Owner:
    """Return a stored sweep as the owner of its studies; if it was deleted, one that owns nothing."""
    own = select(sweeps.c.name, sweeps.c.identity).where(sweeps.c.id == sweep_id)
    specs = select(revisions.c.fingerprint).where(revisions.c.sweep_id == sweep_id)
    with read(engine) as connection:
        row = connection.execute(own).one_or_none()
        return Owner("", "") if row is None else Owner(row.name, row.identity, frozenset(connection.scalars(specs)))


def owned(studies: "Studies", owner: Owner) -> list[str]:
    """Return the names of the sweep's studies, including the remains of a killed creation."""
    own, left = _ours(studies, owner, (), reserved(studies.engine, owner.identity))
    return [*own, *left]


def reserve(studies: "Studies", owner: Owner, names: Sequence[str]) -> set[str]:
    """Reserve the names of a sweep's studies before they are created, inside `create_lock`.

    The remains of a killed creation are removed: an import's studies have trials that no task would match. Returns
    those of the names that are studies of the sweep already. SpecConflict: another program's study has one of the
    names; nothing was changed.
    """
    own, left = _ours(studies, owner, names, reserved(studies.engine))
    for name in left:  # not only of these names: it may have been a creation with more datasets
        studies.delete(name)
    _store(studies.engine, owner.identity, names, [*names, *left])
    return own.intersection(names)


def refuse_foreign(studies: "Studies", owner: Owner, names: Sequence[str]) -> None:
    """Raise SpecConflict if a study has one of these names, in a storage that has no kd-sweeps tables yet."""
    _ours(studies, owner, names, reservations={})


def _ours(
    studies: "Studies", owner: Owner, names: Sequence[str], reservations: Mapping[str, str]
) -> tuple[set[str], list[str]]:
    """Return the sweep's studies, and the remains of a killed creation; raises as `refuse_foreign` for `names`."""
    own, left = set(), []
    for name, attrs in studies.user_attrs(owner.sweep).items():
        if owner.owns(name, attrs):
            own.add(name)
        elif _is_left(studies, name, attrs, reservations):
            left.append(name)
        elif name in names:
            raise foreign(studies.engine, name)
    return own, left


def foreign(engine: Engine, study: str) -> SpecConflict:
    return SpecConflict(
        f"study {study!r} in {masked(engine.url)} belongs to another program, and nothing was changed; choose another"
        " name for the sweep (--as NAME for an import), or remove that study in optuna-dashboard"
    )


@retry_transient()
def reserved(engine: Engine, identity: str | None = None) -> dict[str, str]:
    """Return the identity that each name is reserved for, all or those of one; only during or after a creation."""
    query = select(reserved_studies.c.study, reserved_studies.c.identity)
    with read(engine) as connection:
        rows = connection.execute(query if identity is None else query.where(reserved_studies.c.identity == identity))
        return {row.study: row.identity for row in rows}


@retry_transient()
def free(engine: Engine, identity: str) -> None:
    """Remove the reservations of a sweep, since all its studies carry its identity."""
    with write(engine) as connection:
        connection.execute(delete(reserved_studies).where(reserved_studies.c.identity == identity))


@retry_transient()
def _store(engine: Engine, identity: str, names: Sequence[str], earlier: Sequence[str]) -> None:
    with write(engine) as connection:
        connection.execute(delete(reserved_studies).where(reserved_studies.c.study.in_(earlier)))
        connection.execute(reserved_studies.insert(), [{"study": name, "identity": identity} for name in names])


def _is_left(studies: "Studies", study: str, attrs: Mapping[str, Any], reservations: Mapping[str, str]) -> bool:
    if not attrs:  # killed before the first attribute, when the study was still empty
        return study in reservations and studies.is_untouched(study)
    if IDENTITY_ATTR in attrs:
        return bool(attrs[IDENTITY_ATTR] == reservations.get(study))
    # Of a version without reservations. Only imports made trials, and a study with trials may as well be a copy.
    named = {"sweep", "stage", "loss", "fingerprint"} == attrs.keys()
    return named and study == study_name(attrs["sweep"], attrs["stage"]) and not studies.count_trials(study)
