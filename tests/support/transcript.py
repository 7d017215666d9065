"""Run the console blocks of a page, and compare or replace the output that it shows.

A block of the language `console` has commands after "$ ", their further lines after "> ", each command followed by its
output on stdout and stderr. To rewrite the output: python -m tests.support.transcript docs/tutorial.md
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import REPOSITORY, clean_environment, programs

_BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d[\d.,:]*(e[-+]\d+)?")
_HASH = re.compile(r"\b[0-9a-f]{12,64}\b")
_DATE = re.compile(r"\b\d{1,2} [A-Z][a-z]+ 20\d\d\b")
_WORKER = re.compile(r"\S+-\d+-[0-9a-f]{4}\b")


@dataclass(frozen=True)
class Step:
    """One command and the lines that it printed."""

    command: str
    lines: tuple[str, ...]


def steps(text: str) -> list[Step]:
    """Return the commands of a page in order, each with the lines the page shows for it."""
    return [step for block in _BLOCK.findall(text) for step in _in_block(block)]


def _in_block(block: str) -> list[Step]:
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert not parts[0].strip(), f"output without a command: {parts[0]!r}"
    return [_step(part.rstrip("\n").split("\n")) for part in parts[1:]]


def _step(lines: list[str]) -> Step:
    length = next((i for i, line in enumerate(lines) if i and not line.startswith(">")), len(lines))
    command = [lines[0], *(line.removeprefix(">").removeprefix(" ") for line in lines[1:length])]
    return Step("\n".join(command), tuple(lines[length:]))


def run(command: str, folder: Path) -> tuple[int, list[str]]:
    """Run a command of this checkout as in a shell, in a folder that the output calls /home/me.

    Returns:
        Its exit code, and the lines it printed on both streams together.
    """
    path = f"{programs(folder / '.bin')}:{os.environ['PATH']}"
    process = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=clean_environment() | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1", "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    output = process.stdout.replace(str(folder), "/home/me").rstrip("\n")
    return process.returncode, output.split("\n") if output else []


def normalised(lines: list[str] | tuple[str, ...]) -> set[str]:
    """Return the lines without the parts that differ between runs: numbers, dates, hashes, names of workers, spaces."""
    texts = set()
    for line in lines:
        text = _NUMBER.sub("N", _DATE.sub("DATE", _WORKER.sub("WORKER", _HASH.sub("HASH", line))))
        texts.add(" ".join(re.sub(r"-{2,}", "--", text).split()))
    return texts - {""}


def rewritten(text: str, folder: Path) -> str:
    """Run every command of a page in a folder and return the page with their output."""

    def fill(match: re.Match[str]) -> str:
        parts = []
        for step in _in_block(match[0]):
            code, lines = run(step.command, folder)
            print(f"exit code {code}: {step.command}", file=sys.stderr)
            first, *more = step.command.split("\n")
            parts.append("\n".join([f"$ {first}", *(f"> {line}".rstrip() for line in more), *lines]))
        return "\n".join(parts) + "\n"

    return _BLOCK.sub(fill, text)


def main() -> None:
    """Rewrite the output on the pages named on the command line."""
    for name in sys.argv[1:]:
        page = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(rewritten(page.read_text(encoding="utf-8"), Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
