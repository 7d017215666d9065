"""Packages from a local npm registry, and clients that fail."""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kd.data import registries
from kd.data.downloads import Progress
from kd.errors import DataError
from tests.support.local_site import Site, packed, serving
from tests.support.processes import wait_until_gone

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def tiny(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[..., registries.Package]:
    """Publish a package on a local registry; return how to fetch it."""

    def publish(tarball: bytes, path: str = "/tiny-1.0.0.tgz") -> registries.Package:
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        version = {"name": "tiny", "version": "1.0.0", "dist": {"tarball": site.url + path, "integrity": integrity}}
        about = {"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
        site.files["/tiny"] = json.dumps(about).encode()
        site.files[path] = tarball
        monkeypatch.setenv("npm_config_registry", site.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        return registries.Package(
            spec="tiny@1.0.0",
            size=len(tarball),
            members={"data": 10},
            read=lambda members: members["data"],  # type: ignore[arg-type, return-value]
        )

    return publish


@needs_npm
def test_a_package_gives_its_named_files_only(tiny: Callable[..., registries.Package], tmp_path: Path) -> None:
    package = tiny(packed(("package/data", b"content"), ("package/../../evil", b"x"), ("/tmp/evil", b"x")))
    progress: list[tuple[int, int | None]] = []
    content: object = registries.fetch_package(package, tmp_path, lambda *bytes_: progress.append(bytes_))
    assert content == b"content"
    assert progress[-1] == (package.size, package.size)
    assert not (tmp_path.parent / "evil").exists()


@needs_npm
def test_a_silent_registry_times_out(
    tiny: Callable[..., registries.Package], site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tiny(packed())
    site.files["/stall/tiny"] = site.files["/tiny"]
    monkeypatch.setenv("npm_config_registry", site.url + "/stall")
    monkeypatch.setattr(registries, "REACH_TIMEOUT_S", 1)
    with pytest.raises(DataError, match="npm view: "):
        registries.fetch_package(package, tmp_path)


def run(script: str, folder: Path, *, timeout_s: float = 60, progress: Progress | None = None) -> None:
    """Run a shell script in place of npm."""
    (folder / "empty").mkdir()
    registries.run_client(
        ["sh", "-c", script], folder, "npm pack", timeout_s=timeout_s, watched=folder / "empty", progress=progress
    )


def test_a_client_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^npm pack: the network broke half way$"):
        run("printf 'npm error code E1\nnpm error the network broke half way\nnpm error more\n' >&2; exit 1", tmp_path)


@pytest.mark.parametrize("how", ["it takes too long", "interrupted"])
def test_a_client_is_ended_with_all_its_children(tmp_path: Path, how: str) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if how == "interrupted" and (tmp_path / "number").exists():
            raise KeyboardInterrupt

    with pytest.raises((DataError, KeyboardInterrupt), match=r"^npm pack did not finish within 0 s$|^$"):
        run(
            "sleep 600 & echo $! > new; mv new number; wait",
            tmp_path,
            timeout_s=0.5 if how == "it takes too long" else 60,
            progress=interrupt,
        )
    wait_until_gone(int((tmp_path / "number").read_text()))
