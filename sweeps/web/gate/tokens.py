"""Bearer tokens and the two roles that they give."""

import hashlib
import hmac
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from sweeps.errors import SpecError

Role = Literal["viewer", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
VARIABLE = "KD_SWEEPS_TOKENS"
SHORTEST = 16
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
_EXAMPLE = "lines such as: operator TOKEN; make a token with: openssl rand -hex 24"


@dataclass(frozen=True, repr=False)
class Tokens:
    """The tokens that open a service. Only their hashes are kept, so nothing that prints this shows one."""

    roles: Mapping[bytes, Role]

    def role(self, token: str) -> Role | None:
        """Return the role that a token gives, None if it is none. Takes as long for every token."""
        given, found = _hashed(token), None
        for known, role in self.roles.items():
            if hmac.compare_digest(known, given):
                found = role
        return found


def read_tokens(path: Path | None, environ: Mapping[str, str]) -> Tokens | None:
    """Return the tokens in a file, else those in KD_SWEEPS_TOKENS, else None.

    Raises:
        SpecError: the file cannot be read, others than its owner can read it, or a line is none.
    """
    if path is None:
        text = environ.get(VARIABLE, "")
        return _parsed(text.replace(";", "\n"), VARIABLE) if text.strip() else None
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--tokens: cannot read {path}: {error.strerror}; give a file with {_EXAMPLE}") from None
    except UnicodeDecodeError:
        raise SpecError(f"--tokens: {path} is no text; give a file with {_EXAMPLE}") from None
    if mode & 0o077:
        raise SpecError(f"--tokens: others can read {path} (mode {mode:04o}); allowed: 0600; type: chmod 600 {path}")
    return _parsed(text, str(path))


def _parsed(text: str, origin: str) -> Tokens:
    """Return the tokens of a text. No message repeats a line: it may hold a token."""
    roles: dict[bytes, Role] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        role = next((one for one in ROLES if one == words[0]), None)
        if role is None or len(words) != 2 or not _TOKEN.fullmatch(words[1]):
            raise SpecError(f"{origin}, line {number}: allowed: {' or '.join(ROLES)}, a space, a token; {_EXAMPLE}")
        if len(words[1]) < SHORTEST:
            raise SpecError(
                f"{origin}, line {number}: a token of {len(words[1])} characters can be guessed; allowed:"
                f" {SHORTEST} or more; {_EXAMPLE}"
            )
        hashed = _hashed(words[1])
        if roles.get(hashed, role) != role:
            raise SpecError(f"{origin}, line {number}: the same token for two roles; give each its own")
        roles[hashed] = role
    if not roles:
        raise SpecError(f"{origin} holds no token; allowed: {_EXAMPLE}")
    return Tokens(roles)


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
