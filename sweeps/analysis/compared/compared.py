"""Several sweeps beside each other, as one frozen value: what every format of `compare` says."""

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.analysis.compared.pairs import Pair, pairs
from sweeps.analysis.compared.specs import Differing, differing
from sweeps.analysis.compared.standings import Cost, Standing, costs, standings
from sweeps.analysis.findings import Findings


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What several sweeps say beside each other.

    names: in the order asked for. sweeps: the findings of those of which a task is done, in that order. pending: the
    others. machine_kinds: processor and threads that the finished tasks ran on; seconds of several do not compare.
    """

    names: tuple[str, ...]
    sweeps: tuple[Findings, ...]
    pending: tuple[str, ...]
    standings: tuple[Standing, ...]
    costs: tuple[Cost, ...]
    pairs: tuple[Pair, ...]
    differing: tuple[Differing, ...]
    machine_kinds: tuple[tuple[str, str], ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets of all of them, those of the first sweep first."""
        return tuple(dict.fromkeys(one.dataset for one in self.standings))


def compare(names: Sequence[str], sweeps: Sequence[Findings]) -> Compared:
    """Compare sweeps.

    Args:
        names: all that were asked for.
        sweeps: the findings of those that have some, in the order of `names`.
    """
    kinds = {kind for one in sweeps for kind in one.provenance.machine_kinds}
    known = {one.name for one in sweeps}
    return Compared(
        names=tuple(names),
        sweeps=tuple(sweeps),
        pending=tuple(name for name in names if name not in known),
        standings=standings(sweeps),
        costs=costs(sweeps),
        pairs=pairs(sweeps),
        differing=differing(sweeps),
        machine_kinds=tuple(sorted(kinds)),
    )
