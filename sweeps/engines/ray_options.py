"""What may be typed after -- for the engine `ray`."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sweeps.errors import SpecError

EXAMPLE = "--address=auto --num-cpus=1 --num-gpus=0 --resources='{\"NAME\": 1}'"


@dataclass(frozen=True)
class Cluster:
    """Which Ray cluster works, and what it sets aside for each worker.

    Args:
        address: HOST:PORT; "auto": the one of this machine, or of RAY_ADDRESS; "local": a new one, which ends with us.
        resources: of the user's own, by name.
    """

    address: str = "auto"
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)

    @property
    def wanted(self) -> dict[str, float]:
        """What a node must have for one worker, as Ray names it."""
        return {
            name: size for name, size in {"CPU": self.num_cpus, "GPU": self.num_gpus, **self.resources}.items() if size
        }


def parse(options: Sequence[str]) -> Cluster:
    """Return what was typed after --.

    Raises:
        SpecError: an option that there is not, one without its value, or a value that Ray could not use.
    """
    given: dict[str, str] = {}
    words = list(options)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name not in ("--address", "--num-cpus", "--num-gpus", "--resources"):
            raise SpecError(f"got {word!r} after --; --on ray takes {EXAMPLE}")
        if not equals:
            if not words:
                raise SpecError(f"{name} has no value; --on ray takes {EXAMPLE}")
            value = words.pop(0)
        given[name] = value
    return Cluster(
        address=_address(given.get("--address", "auto")),
        num_cpus=_amount("--num-cpus", given.get("--num-cpus", "1")),
        num_gpus=_amount("--num-gpus", given.get("--num-gpus", "0")),
        resources=_resources(given.get("--resources", "{}")),
    )


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if text in ("auto", "local") or (host and colon and port.isdecimal() and "/" not in host):
        return text
    raise SpecError(
        f"--address: got {text!r}; allowed: auto, local, or HOST:PORT of the head, such as 10.0.0.5:6379, typed on a"
        " machine of the cluster"
    )


def _amount(option: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    # Ray shares a device, but gives only whole ones beyond the first.
    if not 0 <= amount <= 10_000 or (option == "--num-gpus" and amount > 1 and not amount.is_integer()):
        raise SpecError(f"{option}: got {text!r}; allowed: how many each worker gets, for example {option}=1")
    return amount


def _resources(text: str) -> dict[str, float]:
    try:
        found = json.loads(text)
        sizes = {str(name): float(size) for name, size in found.items()}
    except (ValueError, TypeError, AttributeError):
        sizes = {"": math.nan}
    if not all(name and name not in ("CPU", "GPU") and 0 < size < math.inf for name, size in sizes.items()):
        raise SpecError(
            f"--resources: got {text!r}; allowed: JSON with the resources that your nodes declare, for example"
            " --resources='{\"a100\": 1}'; processors and devices have --num-cpus and --num-gpus"
        )
    return sizes
