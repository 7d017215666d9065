"""The words of a command: which are files, their frozen paths, and how placeholders are filled in."""

import shlex
from pathlib import Path

import pytest

from sweeps.custom.command import filled, frozen, placeholders, scripts


def test_only_a_word_that_looks_like_a_path_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("adam", "conf.yaml", "sub", "0.5"):
        (tmp_path / name).mkdir() if name == "sub" else (tmp_path / name).write_text("a", encoding="utf-8")
    (tmp_path / "sub" / "train").write_text("a", encoding="utf-8")
    long = "x" * 5000 + ".y"
    command = f"sh adam conf.yaml sub sub/train ~nobody/x.py {long} {{seed}}"
    words = shlex.split(frozen("trainer.command", command))
    assert words == [
        "sh",
        "adam",
        f"{tmp_path}/conf.yaml",
        "sub",
        f"{tmp_path}/sub/train",
        "~nobody/x.py",
        long,
        "{seed}",
    ]
    assert frozen("trainer.command", shlex.join(words)) == shlex.join(words), "a frozen command stays as it is"
    assert scripts(shlex.join(words)) == [tmp_path / "conf.yaml", tmp_path / "sub" / "train"]


def test_system_programs_and_binary_files_are_not_hashed(tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(b"\0")
    assert scripts(f"/bin/sh {tmp_path}/data.bin {tmp_path}/gone.py") == []


def test_braces_in_the_path_of_a_file_are_no_placeholder(tmp_path: Path) -> None:
    script = tmp_path / "{seed}" / "train.sh"
    script.parent.mkdir()
    script.touch(0o755)
    assert filled([str(script), "{seed}"], {"seed": "7"}) == [str(script), "7"]


def test_braces_around_a_word_are_a_placeholder() -> None:
    command = """train '{"a": 1}' {seed} --out={out}/{seed} {} {a-b}"""
    assert placeholders(command) == ["seed", "out", "seed"]
    assert filled(shlex.split(command), {"seed": "7", "out": "/a b"}) == [
        "train",
        '{"a": 1}',
        "7",
        "--out=/a b/7",
        "{}",
        "{a-b}",
    ]
