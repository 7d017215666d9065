"""Addresses on which a database may listen."""

import socket

import pytest

from storage.url import is_loopback, is_wildcard
from sweeps.cli.options import check_host
from sweeps.contrib.postgres_folder.folder import check_free, first_free
from sweeps.errors import SpecError, SweepError


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", (True, False)),
        ("127.0.0.7", (True, False)),
        ("localhost", (True, False)),
        ("::1", (True, False)),
        ("[::1]", (True, False)),
        ("0.0.0.0", (False, True)),
        ("::", (False, True)),
        ("10.0.0.5", (False, False)),
        ("login1", (False, False)),
    ],
)
def test_an_address_is_classified_as_local_or_open(host: str, expected: tuple[bool, bool]) -> None:
    assert (is_loopback(host), is_wildcard(host)) == expected


def test_a_port_in_use_is_refused_and_the_next_free_port_differs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SweepError, match=rf"port {port} of 127.0.0.1 is in use; choose another: --port {port + 1}"):
            check_free("127.0.0.1", port)
        assert first_free("127.0.0.1") != port
    check_free("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "message"),
    [("203.0.113.9", "which is not an address of this machine"), ("no.such.invalid", "an unknown name")],
)
def test_an_address_of_another_machine_is_refused(host: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"--host: got '{host}', {message}"):
        first_free(host)


@pytest.mark.parametrize(
    "host", ["", "*", "a,b", "127.0.0.1:5432", "127.0.0.1' x", "a\nb", "bücher.example", "x" * 300]
)
def test_an_invalid_address_or_name_is_refused(host: str) -> None:
    with pytest.raises(SpecError, match=r"--host: got .*; allowed: 127.0.0.1 .this machine only.") as refused:
        check_host(host)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "0.0.0.0", "localhost", "login1.cluster_2.example"])
def test_addresses_and_names_are_accepted(host: str) -> None:
    check_host(host)
