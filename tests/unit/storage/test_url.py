"""storage.url: which storage a URL names, how it is printed, and how a child process gets it."""

from pathlib import Path

import pytest

from storage.errors import UrlError
from storage.url import absolute, masked, plain, resolve


def test_the_flag_wins_over_the_environment_and_the_default_is_a_file_in_this_folder() -> None:
    environ = {"KD_SWEEPS_STORAGE": "sqlite:///ours.db", "OPTUNA_STORAGE": "sqlite:///optuna.db"}
    assert plain(resolve("sqlite:///flag.db", environ)) == "sqlite:///flag.db"
    assert plain(resolve(None, environ)) == "sqlite:///ours.db"
    assert plain(resolve(None, {"OPTUNA_STORAGE": "sqlite:///optuna.db"})) == "sqlite:///optuna.db"
    assert plain(resolve(None, {})) == "sqlite:///kd-sweeps.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_spelling_of_postgres_means_the_installed_driver(scheme: str) -> None:
    assert resolve(f"{scheme}://u:p@h/db").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x.db", "type: sqlite:///x.db"),
        ("mysql://u:geheim@h/db", "only SQLite and Postgres"),
        ("postgresql+asyncpg://u:geheim@h/db", "only SQLite and Postgres"),
        ("http://example.org", "only SQLite and Postgres"),
        ("sqlite://", "workers are other processes"),
        ("sqlite:///:memory:", "workers are other processes"),
        ("sqlite:///file:x?mode=memory&uri=true", "workers are other processes"),
        ("sqlite:///x.db?cache=shared", "only a path"),
        ("sqlite://x.db", "type: sqlite:///x.db"),
        ("postgresql://u:geheim@h:port/db", "malformed URL"),
        ("postgres ql://u:ge@heim@h/db", "malformed URL"),
        ("u:geheim@h/db", "postgresql://USER"),
    ],
)
def test_a_url_that_names_no_storage_is_refused_with_what_to_type(text: str, part: str) -> None:
    with pytest.raises(UrlError) as caught:
        resolve(None, {"OPTUNA_STORAGE": text})
    message = str(caught.value)
    assert part in message
    assert "OPTUNA_STORAGE" in message, "the source of the URL is named"
    assert "\n" not in message
    assert "geheim" not in message
    assert "heim@" not in message


def test_a_url_is_printed_as_it_was_typed() -> None:
    for text in ("postgresql://u@h:5433/db?sslmode=require", "sqlite:///a.db", "sqlite:////srv/a.db"):
        assert masked(resolve(text)) == text
    with pytest.raises(UrlError, match=r"'postgresql\+asyncpg://u@h/db', but only SQLite and Postgres"):
        resolve("postgresql+asyncpg://u@h/db")


def test_a_password_is_masked_in_print_and_passed_to_a_child_process() -> None:
    for text in ("postgresql://u:geheim@h/db", "postgresql://h/db?user=u&password=geheim"):
        url = resolve(text)
        assert "geheim" not in masked(url)
        assert "***" in masked(url)
        assert resolve(plain(url)) == url
        assert "geheim" in plain(url)


@pytest.mark.parametrize("name", ["a.db", "with space.db", "50%.db", "a#b?.db", "ümlaut.db"])
def test_a_path_reaches_a_child_process_unchanged(name: str, tmp_path: Path) -> None:
    url = absolute(resolve("sqlite:///x.db").set(database=str(tmp_path / name)))
    assert resolve(plain(url)).database == str(tmp_path / name)


def test_absolute_names_the_same_file_from_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute(resolve("sqlite:///x.db")).database == str(tmp_path / "x.db")
    assert plain(resolve("sqlite:///x.db")) == "sqlite:///x.db", "printed as it was typed"
    server = resolve("postgresql://h/db")
    assert absolute(server) == server
