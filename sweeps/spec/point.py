"""A point of the search space: what a trial tries, a selection chooses and an arm is trained with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Number: TypeAlias = int | float


@dataclass(frozen=True)
class Point:
    """A temperature, an alpha, and what else is searched. Ranges are checked where they are used.

    Attributes:
        temperature: > 0.
        alpha: weight of the labels, in [0, 1].
        more: the further parameters that the spec searches, by name, in the order of their names.
    """

    temperature: float
    alpha: float
    more: tuple[tuple[str, Number], ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Point":
        """Return the point with these parameters: temperature, alpha and whatever else is searched.

        Raises:
            KeyError: temperature or alpha is missing.
        """
        more = {name: value for name, value in values.items() if name not in ("temperature", "alpha")}
        return cls(values["temperature"], values["alpha"], tuple(sorted(more.items())))

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Point":
        """Return the point that `as_json` gave, beside whatever else is stored with it; raises KeyError as `of`."""
        more = tuple(sorted(stored.get("more", {}).items()))
        return cls(float(stored["temperature"]), float(stored["alpha"]), more)

    def as_dict(self) -> dict[str, Number]:
        """Return its parameters by name, as a trial of Optuna has them."""
        return {"temperature": self.temperature, "alpha": self.alpha, **dict(self.more)}

    def text(self, digits: int = 3) -> str:
        """Return it in words: "T = 6.8, alpha = 0.724, learning_rate = 0.004"."""
        values = {"T": self.temperature, "alpha": self.alpha, **dict(self.more)}
        return ", ".join(f"{name} = {_shown(value, digits)}" for name, value in values.items())

    def numbers(self, more: Iterable[str] = (), digits: int = 3) -> str:
        """Return its values alone, as a table has them below the names: "6.8, 0.724, 0.004"; "-" stands for none.

        Args:
            more: what is searched beyond T and alpha, in the order of the names.
        """
        known = dict(self.more)
        values = [self.temperature, self.alpha, *(known.get(name) for name in more)]
        return ", ".join("-" if value is None else _shown(value, digits) for value in values)

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored beside other values: what is searched beyond T and alpha stands apart."""
        more = {"more": dict(self.more)} if self.more else {}
        return {"temperature": self.temperature, "alpha": self.alpha} | more


def _shown(value: Number, digits: int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{digits}g}"
