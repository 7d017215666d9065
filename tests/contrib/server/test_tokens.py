"""The file of tokens: what is accepted, and that no message repeats a token. Sessions: when they end."""

from pathlib import Path

import pytest

from sweeps.contrib.server.auth import LASTS_S, Sessions, read_tokens
from sweeps.errors import SpecError

LONG = "0123456789abcdef"


def _file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "tokens.txt"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_token_has_the_role_of_its_line(tmp_path: Path) -> None:
    tokens = read_tokens(_file(tmp_path, f"# ours\n\nviewer  {LONG}v\noperator {LONG}o\noperator {LONG}p\n"), {})
    assert tokens is not None
    assert [tokens.role(f"{LONG}{end}") for end in "vopx"] == ["viewer", "operator", "operator", None]
    assert LONG not in repr(tokens)


def test_the_environment_takes_the_same_lines_and_the_file_has_precedence(tmp_path: Path) -> None:
    environment = {"KD_SWEEPS_TOKENS": f"viewer {LONG}v; operator {LONG}o"}
    tokens = read_tokens(None, environment)
    assert tokens is not None
    assert tokens.role(f"{LONG}o") == "operator"
    other = read_tokens(_file(tmp_path, f"viewer {LONG}f"), environment)
    assert other is not None
    assert other.role(f"{LONG}o") is None
    assert read_tokens(None, {"KD_SWEEPS_TOKENS": " "}) is None
    assert read_tokens(None, {}) is None


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SpecError, match=r"other users can read .* chmod 600"):
        read_tokens(_file(tmp_path, f"viewer {LONG}", mode), {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        f"{LONG}\n",
        f"admin {LONG}\n",
        f"viewer {LONG} more\n",
        f"viewer {LONG}\nviewer {LONG[:15]}\n",
        f"viewer {LONG}é\n",
        f"viewer {LONG}\noperator {LONG}\n",
    ],
)
def test_a_bad_line_is_reported_by_number_without_its_token(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_tokens(_file(tmp_path, text), {})
    assert LONG[:10] not in str(refused.value)
    assert "openssl rand -hex 24" in str(refused.value) or "two roles" in str(refused.value)


def test_a_missing_or_binary_file_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        read_tokens(tmp_path / "none", {})
    path = _file(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="is not a text file"):
        read_tokens(path, {})


def test_a_session_expires_and_is_invalid_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions()
    cookie = sessions.issue("operator")
    assert sessions.role(cookie) == "operator"
    assert Sessions().role(cookie) is None
    import time

    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + LASTS_S + 2)
    assert sessions.role(cookie) is None


def test_ending_a_session_invalidates_all_copies_of_its_cookie_and_no_other_session() -> None:
    sessions = Sessions()
    ended, other = sessions.issue("operator"), sessions.issue("viewer")
    sessions.end(ended)
    sessions.end(f"{other}x")
    sessions.end("")
    assert (sessions.role(ended), sessions.role(other)) == (None, "viewer")


def test_too_many_sessions_end_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.contrib.server.auth.MOST_SESSIONS", 3)
    sessions = Sessions()
    cookies = [sessions.issue("viewer") for _ in range(5)]
    assert [sessions.role(cookie) for cookie in cookies] == [None, None, "viewer", "viewer", "viewer"]
