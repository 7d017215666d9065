"""A real web site on this machine, for tests of faults during a download."""

import io
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site(ThreadingHTTPServer):
    """Serves `files`. Answers below /half break off half-way, those below /stall stop there; /silent gives none."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Page)
        self.files: dict[str, bytes] = {}
        self.paths: list[str] = []  # of the requests
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Page(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        if self.path.startswith("/silent"):
            self.server.closing.wait()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path.startswith(("/half", "/stall")):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if self.path.startswith("/stall"):
                self.server.closing.wait()
        else:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serving() -> Iterator[Site]:
    """Serve a site until the end of the block."""
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            site.shutdown()
            thread.join()


def add(archive: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    """Add a member to an archive being written; a link points at a system file."""
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content), kind, "/etc/passwd"
    archive.addfile(member, io.BytesIO(content))


def packed(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return an npm package with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        add(archive, "package/package.json", b'{"name": "tiny", "version": "1.0.0"}')
        for name, content in members:
            add(archive, name, content, kind)
    return buffer.getvalue()
