"""The docs: they build, they name what exists, and what they show is what the commands print."""

import ast
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.distill.spec import KdSpec
from sweeps.spec.model import Spec
from tests.support.docs import cli_reference, rooms, spec_reference
from tests.support.pages import DOCS, code_spans, pages
from tests.support.paths import REPOSITORY
from tests.support.references import FILES, current
from tests.support.transcript import normalised, run, steps

EXECUTED = ("tutorial.md", "how-to/own-data.md", "how-to/own-model.md", "how-to/own-training.md", "how-to/programs.md")

WORDS = """sweep spec role source target stage phase task attempt lease heartbeat study trial incumbent arm control
method baseline group selection look regret native margin confirm matter teacher student logits temperature alpha
augmentation views mirror audit provenance fingerprint failpoint"""


def _names(path: Path) -> set[str]:
    """Return what a module defines at its top: functions, classes and values."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def _module(name: str) -> Path:
    path = REPOSITORY / Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_path_and_function_that_a_page_names_exists(page: Path) -> None:
    for span in code_spans(page.read_text(encoding="utf-8")):
        if match := re.fullmatch(r"((?:kd|storage|sweeps)(?:\.\w+)+):(\w+)", span):
            module = _module(match[1])
            assert module.is_file(), span
            assert match[2] in _names(module), span
        elif re.fullmatch(r"(kd|storage|sweeps|bench|tests|docs)/[\w./-]*", span) and "_build" not in span:
            assert (REPOSITORY / span).exists(), span
        elif re.fullmatch(r"python bench/\w+\.py.*", span):
            assert (REPOSITORY / span.split()[1]).is_file(), span


def test_every_word_of_the_glossary_is_one_sentence_with_an_example() -> None:
    text = (DOCS / "concepts.md").read_text(encoding="utf-8")
    entries = re.findall(r"^(\w[\w, ]*)\n: (.+(?:\n  .+)*)", text, flags=re.MULTILINE)
    explained = {word.strip(): meaning for words, meaning in entries for word in words.split(",")}
    assert set(WORDS.split()) - set(explained) == set()
    for word, meaning in explained.items():
        assert "example: " in meaning, word
        assert re.sub(r"`[^`]*`", "", meaning).rstrip(".").count(". ") == 0, f"{word}: more than one sentence"


def test_the_command_line_reference_has_every_command_with_its_options() -> None:
    text = cli_reference.markdown()
    for words in ("create", "data fetch", "status", "worker"):
        assert f"## {words}\n" in text
    assert "| `--preset` `NAME` |" in text
    assert "`table\\|json\\|yaml\\|csv\\|value`" in text


def test_the_spec_reference_has_every_table_and_key() -> None:
    text = spec_reference.markdown()
    for name in {*Spec.names(), *KdSpec.names()}:
        assert f"[{name}]" in text or f"| `{name}` |" in text
        inner = getattr((Spec.model_fields | KdSpec.model_fields)[name].annotation, "model_fields", {})
        for key in inner:
            assert f"| `{key}` |" in text, f"{name}.{key}"
    assert "| `alpha` | `[low, high]` | `[0.0, 1.0]` |" in text
    assert "whole number, >= 1, <= 3" in text


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_a_generated_file_or_part_is_that_of_the_program(file: Path) -> None:
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    assert text == current(file), "rewrite it: python -m tests.support.references"


def test_the_table_of_rooms_has_every_room() -> None:
    table = rooms.table()
    for package in ("kd", "storage", "sweeps"):
        for room in (REPOSITORY / package).iterdir():
            if (room / "__init__.py").is_file():
                assert table.count(f"| `{package}/{room.name}/` |") == 1, room


def _listed(page: Path) -> list[list[Path]]:
    """Return the pages that each section of an index links to."""
    sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    links = [re.findall(r"^- \[[^]]+\]\(([\w/-]+\.md)\)", section, flags=re.MULTILINE) for section in sections]
    return [[page.parent / link for link in section] for section in links]


def test_each_page_is_in_one_group_of_the_side_bar_and_no_group_is_long() -> None:
    indexes = {page: _listed(page) for page in pages() if page.name == "index.md"}
    assert max(len(group) for groups in indexes.values() for group in groups) <= 8
    listed = [page for groups in indexes.values() for group in groups for page in group]
    assert sorted(listed) == [page for page in pages() if page.is_relative_to(DOCS) and page != DOCS / "index.md"]


@pytest.mark.processes
def test_the_commands_of_the_page_on_removal_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, folder = tmp_path / "home", tmp_path / "work"
    for variable in ("KD_SWEEPS_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    files = (
        home / ".cache" / "kd-sweeps" / "datasets" / "mnist.npz",
        home / ".local" / "state" / "kd-sweeps" / "log" / "mnist-kd" / "worker.log",
        home / ".bash_completions" / "kd-sweeps.sh",
        folder / "mnist-kd-report" / "report.html",
    )
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    (home / ".bashrc").write_text("alias l=ls\nsource '~/.bash_completions/kd-sweeps.sh'\n")
    assert run("kd-sweeps create mnist-kd --preset tiny", folder)[0] == 0
    assert (folder / "kd-sweeps.db").is_file()
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (DOCS / "how-to" / "remove.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    for line in "".join(blocks[:3]).splitlines():  # later ones remove the program, or need servers
        code, lines = run(line, folder)
        assert code == 0, "\n".join([line, *lines])
    names = {path.name for path in (*home.rglob("*"), *folder.rglob("*")) if path.is_file()}
    assert names - {"kd-sweeps", "python", "keras.json"} == {".bashrc", ".bashrc.old"}  # the first two are of this test
    assert (home / ".bashrc").read_text() == "alias l=ls\n"


@pytest.mark.slow
def test_the_docs_build_without_a_warning(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "html" / "reference" / "cli.html").is_file()


_STUDENTS = """
import hashlib, json, pathlib, pickle, train

folder, results = pathlib.Path("."), []
for temperature, alpha in ((1.0, 0.0), (3.0, 0.5), (20.0, 0.1), (1.0, 1.0)):
    scores = train.train(temperature, alpha, seed=7, folder=folder), train.test(folder=folder)
    weights = pickle.loads((folder / "student").read_bytes()).coef_.tobytes()
    results.append((scores, hashlib.sha256(weights).hexdigest()))
print(json.dumps([list(column) for column in zip(*results)]))
"""


@pytest.mark.processes
def test_the_students_of_the_tutorial_score_alike_on_every_processor(tmp_path: Path) -> None:
    """OpenBLAS uses the kernels of other processors: rounding changes the weights, and scores by at most one image."""
    step, *_ = steps((DOCS / "tutorial.md").read_text(encoding="utf-8"))
    assert run(step.command, tmp_path) == (0, [])
    printed = [
        subprocess.run(
            [sys.executable, "-c", _STUDENTS],
            cwd=tmp_path,
            env=os.environ | {"OPENBLAS_CORETYPE": kind, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        for kind in ("Nehalem", "Haswell", "SkylakeX")
    ]
    scores, weights = zip(*(json.loads(result.stdout) for result in printed), strict=True)
    for student in zip(*scores, strict=True):
        for measured in zip(*student, strict=True):
            assert max(measured) - min(measured) < 1.5 / 597, "more than one test image"
    if platform.machine() == "x86_64":
        assert weights[0] != weights[1], "the kernels did not differ"


@pytest.mark.slow
@pytest.mark.parametrize("page", EXECUTED)
def test_the_commands_of_a_page_print_what_it_shows(
    page: str, tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers, hashes, and words that depend on an accuracy may differ between machines.

    If the answer hash differs from the page's, this is another kind of processor, whose accuracies decide which
    sentences are printed: from there on, only success is compared.
    """
    monkeypatch.setenv("KERAS_HOME", str(shared_data / "keras"))  # for MobileNet's weights, without a download
    commands = steps((DOCS / page).read_text(encoding="utf-8"))
    assert commands
    same_kind = True
    for step in commands:
        code, lines = run(step.command, tmp_path)
        assert code == 0, "\n".join([step.command, *lines])
        same_kind = same_kind and {line for line in step.lines if line.startswith("answer hash ")} <= set(lines)
        missing = normalised(step.lines) - normalised(lines) if same_kind else set()
        assert not {line for line in missing if not _decided_by_accuracy(line)}, step.command


def _decided_by_accuracy(line: str) -> bool:
    return bool(re.search(r"FLAT|TRANSFERS|FAILS|UNDECIDED|fresh seeds|^teachers N", line))
