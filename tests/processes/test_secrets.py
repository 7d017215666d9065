"""A password in the storage's URL is only in the environment of our own processes."""

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest
import typer

from storage.url import resolve
from sweeps.cli.app import app
from sweeps.contrib.archive.transfer import archive_sweep
from sweeps.spec.stored import to_toml
from sweeps.usecases.create import create_sweep
from tests.support import launches
from tests.support.postgres_server import PostgresServer
from tests.support.sweeps.small_sweeps import SMALL, created
from tests.support.sweeps.typed_commands import KdSweeps

ROLE = "keeper"
PASSWORD = "g3heim/w@rt:x"  # differs from other tests' passwords, which a concurrent process may hold
WRONG = "n0tit/w@rt:y"
# The passwords, plain and percent-encoded, and the parts that careless parsing of the URL would leave.
SECRETS = (
    PASSWORD,
    quote(PASSWORD, safe=""),
    WRONG,
    quote(WRONG, safe=""),
    "g3heim",
    "n0tit",
    "w@rt",
    "rt:x",
    "rt:y",
    "rt@",
)

WRONG_PASSWORD = "password authentication failed"

# Every command that opens the storage, in an order in which all can run.
COMMANDS = [
    ["storage", "upgrade"],
    ["create", "other", "--preset", "tiny", "--dry-run"],
    ["create", "other", "--preset", "tiny"],
    ["run", "s", "--spec", "small.toml"],
    ["status", "s"],
    ["best", "s"],
    ["best", "s", "-f", "json"],
    ["trials", "s", "-f", "csv"],
    ["workers", "s"],
    ["report", "s"],
    ["report", "s", "-f", "json"],
    ["report", "s", "-o", "page"],
    ["compare", "s", "other"],
    ["compare", "s", "other", "-f", "csv"],
    ["compare", "s", "other", "-o", "comparison"],
    ["export", "s", "-o", "student.keras"],
    ["export", "s", "--logits", "source", "-o", "logits.npz"],
    ["export", "s", "--to", "mlflow", "-o", "runs"],
    ["export", "s", "--to", "wandb", "-o", "runs"],
    ["replay", "s", "--task", "search#0"],
    ["list", "-f", "yaml"],
    ["doctor"],
    ["launch", "s"],
    ["logs", "s"],
    ["logs", "s", "--task", "search#0"],
    ["archive", "s", "-o", "s.kdsweep", "--force"],
    ["import", "s.kdsweep", "--as", "theirs"],
    ["reap", "s"],
    ["retry", "s"],
    ["extend", "s", "--seeds", "+1"],
    ["pause", "s"],
    ["cancel", "s"],
    ["resume", "s"],
    ["delete", "s", "--yes"],
]
WITHOUT_STORAGE = {"spec", "data", "database", "verify", "check-loss", "judge"}  # judge is given a URL
FOR_EVER = [["worker", "s"], ["dashboard", "s"], ["serve", "s"]]  # these run until stopped, or fail at once


def leaks(text: str) -> list[str]:
    """Return the lines that hold a secret."""
    return [line for line in text.splitlines() if any(secret in line for secret in SECRETS)]


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.new_database(role=ROLE, password=PASSWORD)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of logs, on Linux and macOS."""
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


def test_the_list_above_has_every_command() -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    assert set(command.commands) <= {words[0] for words in COMMANDS + FOR_EVER} | WITHOUT_STORAGE


@pytest.mark.parametrize("fault", ["wrong password", "closed port"])
def test_no_command_prints_the_password_when_the_storage_is_unusable(
    server: PostgresServer, url: str, home: Path, fault: str, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, message = {
        "wrong password": (url.replace(quote(PASSWORD, safe=""), quote(WRONG, safe="")), WRONG_PASSWORD),
        "closed port": (url.replace(f":{server.port}/", ":1/"), "Connection refused"),
    }[fault]
    archive_sweep(created(f"sqlite:///{home}/archived.db"), "s", home / "s.kdsweep")
    monkeypatch.setenv("KD_SWEEPS_STORAGE", bad)
    (home / "small.toml").write_text(to_toml(SMALL))
    judge = ["judge", bad, "--study", "s"]
    for command in [judge, *COMMANDS, *FOR_EVER] if fault == "wrong password" else [judge, *COMMANDS[:6]]:
        code, out, err = kd_sweeps(*command)
        assert not leaks(out + err), command
        assert "Traceback" not in err, command
        if "--dry-run" in command or command[0] == "logs":
            continue  # they need no storage
        assert code == 1, (command, out, err)
        if command[0] != "doctor":  # it prints a line for each check
            (line,) = [line for line in err.splitlines() if not line.startswith("storage ")]
            assert line.startswith("kd-sweeps: cannot use postgresql://"), command
            assert message in line
    assert not leaks("".join(path.read_text() for path in home.rglob("*.log")))


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://keeper:{0}@127.0.0.1:5432/db",
        "postgresql://keeper:g3heim/w@rt@127.0.0.1:5432/db",
        "postgresql://keeper:w@rt@127.0.0.1/db",
        "postgresql://keeper:g3heim/db",
        "postgresql://keeper:g3heim",
        "postgresql:keeper:{0}@127.0.0.1/db",
        "keeper:{0}@127.0.0.1/db",
        "mysql://keeper:{1}@127.0.0.1/db",
        "postgresql://127.0.0.1:1/db?user=keeper&password={1}",
        "postgresql://127.0.0.1:port/db?user=keeper&password={1}",
        "postgresql://keeper@127.0.0.1:1/db?sslpassword={1}",
    ],
)
def test_a_malformed_url_is_repeated_without_its_password(
    text: str, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KD_SWEEPS_STORAGE", text.format(PASSWORD, quote(PASSWORD, safe="")))
    code, out, err = kd_sweeps("status", "s")
    assert code in (1, 2)
    assert len(err.splitlines()) == 1
    assert not leaks(out + err)


# Stores the command lines of all processes while a launch and its worker run; none where there is no /proc.
LOOK_AROUND = """
if once("processes"):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            (HOME / f"{path.parts[2]}.cmdline").write_bytes(path.read_bytes().replace(b"\\0", b" "))
        except OSError:
            pass
"""


def rows(server: PostgresServer, url: str) -> str:
    """Return every row of every table, as text."""
    with server.admin(str(resolve(url).database)) as connection:
        tables = connection.execute(
            "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert len(tables) > 10
        texts = [connection.execute(f"SELECT t::text FROM {table} t").fetchall() for (table,) in tables]
    return "\n".join(text for table in texts for (text,) in table)


@pytest.mark.slow
def test_nothing_that_a_whole_sweep_prints_or_stores_holds_the_password(
    server: PostgresServer,
    url: str,
    home: Path,
    kd_sweeps: KdSweeps,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    create_sweep(resolve(url), "s", SMALL)
    env = launches.environment(home, resolve(url), LOOK_AROUND) | {"XDG_STATE_HOME": str(home)}
    code, out = launches.launched(env, workers=1)
    assert code == 0, out
    assert not leaks(out)
    if Path("/proc/self/cmdline").exists():
        processes = [path.read_text(errors="replace") for path in home.glob("*.cmdline")]
        assert any("sweeps.cli worker s" in line for line in processes), "the worker was not seen"
        assert not [line for line in processes if leaks(line)]
    logs = {path: path.read_text(errors="replace") for path in home.rglob("*.log")}
    assert any("done" in text for text in logs.values())
    assert not leaks("\n".join(logs.values()))

    monkeypatch.setenv("KD_SWEEPS_STORAGE", url)
    (home / "small.toml").write_text(to_toml(SMALL))
    for command in COMMANDS:
        if command[0] == "delete":
            stored = rows(server, url)
            assert "search#1" in stored
            assert not leaks(stored)
        code, out, err = kd_sweeps(*command)
        # The runner of this test stores no model and no logits; a tracker's library may be missing.
        if "--to" in command:
            expected = 0 if find_spec(command[command.index("--to") + 1]) else 2
        else:
            expected = int(command[0] in ("export", "replay"))
        assert (code, "Traceback" in err) == (expected, False), (command, err)
        assert not leaks(out + err), command
        if command[0] == "archive":
            assert not leaks((home / "s.kdsweep").read_bytes().decode(errors="replace"))
        if command[0] in ("status", "best", "report", "list"):
            assert "postgresql://keeper:***@127.0.0.1" in err, "it must name the storage it used"
    assert not leaks(caplog.text)


def test_a_users_exception_that_holds_the_url_reveals_no_password(
    server: PostgresServer, url: str, home: Path, kd_sweeps: KdSweeps, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_sweep(resolve(url), "s", SMALL)
    env = launches.environment(home, resolve(url), "raise ValueError(os.environ['KD_SWEEPS_STORAGE'])")
    code, out = launches.launched(env | {"XDG_STATE_HOME": str(home)}, workers=1)
    assert code == 1
    assert "ValueError: postgresql+psycopg://keeper:***@" in out
    assert not leaks(out)
    assert not leaks(rows(server, url))
    assert not leaks("\n".join(path.read_text(errors="replace") for path in home.rglob("*.log")))
    monkeypatch.setenv("KD_SWEEPS_STORAGE", url)
    for command in (["status", "s"], ["trials", "s"], ["logs", "s", "--task", "teachers#source"], ["logs", "s"]):
        code, printed, err = kd_sweeps(*command)
        assert code == 0
        assert not leaks(printed + err), command
