"""Where a server may listen: an address of this machine, and a port that nobody has."""

import errno
import ipaddress
import re
import socket

from sweeps.errors import SpecError, SweepError

_FIRST_PORT = 5432  # Postgres' own
_PORTS = 100
_LONGEST_NAME = 253
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_-]{1,63})*")

ALLOWED = (
    "allowed: 127.0.0.1 for this machine alone, 0.0.0.0 for everybody, or one that `ip address` lists; the port has an"
    " option of its own, --port"
)


def is_loopback(host: str) -> bool:
    """Return whether only programs on this machine reach an address."""
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def is_wildcard(host: str) -> bool:
    """Return whether it stands for every address of this machine."""
    address = _address(host)
    return address is not None and address.is_unspecified


def check_host(host: str) -> None:
    """Raise SpecError for what is neither an address nor a name, such as a list of them or one with a port."""
    if _address(host) is None and (len(host) > _LONGEST_NAME or not _NAME.fullmatch(host)):
        raise SpecError(f"--host: got {host[:80]!r}; {ALLOWED}")


def check_free(host: str, port: int) -> None:
    """Do nothing if a server can listen there now.

    Raises:
        SpecError: it is no address of this machine.
        SweepError: somebody has the port, or only root may have it.
    """
    try:
        _try(host, port)
    except socket.gaierror:
        raise SpecError(f"--host: got {host!r}, which no name server knows; give an address of this machine") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SweepError(f"port {port} of {host} is taken; name another one: --port {port % 65_535 + 1}") from None
        if error.errno == errno.EACCES:
            raise SweepError(f"port {port} is for root only; name one from 1024 on: --port {_FIRST_PORT}") from None
        raise SpecError(f"--host: got {host!r}, which is no address of this machine; {ALLOWED}") from None


def first_free(host: str) -> int:
    """Return the first free port from 5432 on.

    Raises:
        SpecError, SweepError: as `check_free`, of the last one that was tried.
    """
    for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS):
        try:
            check_free(host, port)
        except SweepError as error:
            if isinstance(error, SpecError) or port == _FIRST_PORT + _PORTS - 1:
                raise
        else:
            return port
    raise AssertionError


def _try(host: str, port: int) -> None:
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Postgres does: not who has just left
            probe.bind(address)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:  # a name
        return None
