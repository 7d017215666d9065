"""The page about the service: its curl commands, run unchanged, do what they promise."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sweeps.distill.presets import preset
from sweeps.spec.model import override
from tests.support.paths import REPOSITORY
from tests.support.sweeps.planted_sweeps import worked
from tests.support.sweeps.reported_sweeps import run
from tests.support.web.services import OPERATOR, TOKENS, serving

pytestmark = pytest.mark.processes

PAGE = REPOSITORY / "docs" / "how-to" / "service.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.slow
def test_the_curl_commands_of_the_page_work(tmp_path: Path) -> None:
    block = re.search(r"## By curl\n\n```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert block is not None
    url = f"sqlite:///{tmp_path}/s.db"
    worked(url, override(preset("tiny"), {"transfer.seeds": 3}), run, name="demo")
    with serving(url, folder=tmp_path, tokens=TOKENS) as service:
        result = subprocess.run(
            ["bash", "-eu", "-c", 'curl() { command curl -fsS "$@"; echo; }\n' + block[1]],
            cwd=tmp_path,
            env=os.environ | {"KD_SWEEPS_URL": service.url, "KD_SWEEPS_TOKEN": OPERATOR, "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        for part in ('"new":false', '"stages":', '"confirmed":true', '"next_offset":', "event: end", '"look":'):
            assert part in result.stdout, part
        assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
        assert service.ask("/api/v1/sweeps/demo/trials", token=OPERATOR).json["total"] > 10
