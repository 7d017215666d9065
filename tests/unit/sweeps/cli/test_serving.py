"""The errors of `serve` before it listens."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sweeps.small_sweeps import created
from tests.support.web.services import TOKENS

pytestmark = pytest.mark.usefixtures("in_memory")

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "host.example"])
def test_without_tokens_serve_listens_on_this_machine_only(kd_sweeps: Run, host: str) -> None:
    code, _, err = kd_sweeps("serve", "--all", "--host", host)
    assert code == 2
    assert err.splitlines() == [
        f"kd-sweeps: --host: got {host}; without tokens only 127.0.0.1, ::1 and localhost are allowed: give --tokens"
        " FILE or KD_SWEEPS_TOKENS first, lines such as: operator TOKEN"
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give the sweeps to serve, or --all"),
        (["s", "--all"], "give the sweeps to serve, or --all"),
        (["--all", "--port", "99999"], "--port: got '99999'"),
        (["--all", "--host", "*"], "--host: got '*'; allowed: 127.0.0.1 (this machine only)"),
        (["--all", "--host", f"{'x' * 80}.com"], "'; allowed: 127.0.0.1 (this machine only)"),
        (["--all", "--tokens", "none.txt"], "--tokens: cannot read none.txt"),
        (["../s"], "sweep name '../s'"),
    ],
)
def test_bad_arguments_of_serve_give_a_one_line_error(kd_sweeps: Run, words: list[str], message: str) -> None:
    code, _, err = kd_sweeps("serve", *words)
    assert code in (1, 2)
    (line,) = [line for line in err.splitlines() if not line.startswith("storage ")]
    assert message in line


def test_a_missing_sweep_is_an_error_before_serve_listens(kd_sweeps: Run, tmp_path: Path) -> None:
    created(f"sqlite:///{tmp_path}/kd-sweeps.db")
    code, _, err = kd_sweeps("serve", "s", "none")
    assert code == 1
    assert "no sweep 'none'" in err


def test_a_port_in_use_gives_a_one_line_error(kd_sweeps: Run, tmp_path: Path) -> None:
    created(f"sqlite:///{tmp_path}/kd-sweeps.db")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        code, _, err = kd_sweeps("serve", "s", "--port", str(port))
    assert code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another: --port {port + 1}" in err


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.invalid"])
def test_an_address_of_another_machine_is_refused(kd_sweeps: Run, tmp_path: Path, host: str) -> None:
    (tmp_path / "tokens.txt").write_text(TOKENS)
    (tmp_path / "tokens.txt").chmod(0o600)
    created(f"sqlite:///{tmp_path}/kd-sweeps.db")
    code, _, err = kd_sweeps("serve", "s", "--host", host, "--tokens", "tokens.txt")
    assert code == 2
    assert f"--host: got '{host}', which is not an address of this machine; allowed: 127.0.0.1" in err
    assert "choose another" not in err, "another port would not help"


def test_tokens_that_others_can_read_are_refused_without_printing_them(kd_sweeps: Run, tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text(TOKENS)
    (tmp_path / "tokens.txt").chmod(0o644)
    code, _, err = kd_sweeps("serve", "--all", "--tokens", "tokens.txt")
    assert code == 2
    assert "chmod 600 tokens.txt" in err
    assert "viewer-token" not in err
