"""How often do the advice and `kd-sweeps judge` err? Simulated sweeps, nothing trained.

    python bench/null.py [--sweeps N] [--only PART] [--page FILE]

Replaces the sections "Advice" (support/advice.py) and "Judge" (support/judge.py) of bench/results/results.md. Exits
with 1 if one of their claims does not hold.
"""

import sys
from collections.abc import Mapping
from typing import Any

from support import advice, judge
from support.page import Origin, make_parser, write_section

PARTS: Mapping[str, Any] = {"advice": advice, "judge": judge}


def main() -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--sweeps", type=int, default=10_000, metavar="N", help="in each row (default: 10000)")
    parser.add_argument("--only", choices=PARTS, metavar="PART", help=f"one of {', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    if options.sweeps < 1:
        parser.error(f"--sweeps: got {options.sweeps}, must be 1 or more")
    claims: dict[str, list[bool]] = {}
    for name in [options.only] if options.only else PARTS:
        origin, part = Origin(), PARTS[name]
        rows = part.measure(options.sweeps)
        text = part.page(rows)
        write_section(name.capitalize(), f"{origin}\n\n{text}", path=options.page)
        print("\n".join([text, "", part.worst(rows), ""]), flush=True)
        claims |= part.claims(rows)
    return 0 if all(map(all, claims.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
