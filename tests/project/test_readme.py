"""README and docs together: their commands exist, their links lead somewhere, their examples run."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import sweeps
from sweeps.cli.app import app
from sweeps.distill.presets import MINUTES, PRESETS
from tests.support.docs import cli_reference
from tests.support.pages import DOCS, all_text, code_spans, pages
from tests.support.paths import REPOSITORY
from tests.support.transcript import steps

README = REPOSITORY / "README.md"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def _commands() -> dict[str, set[str]]:
    """Return the options of every command, by the words that call it."""
    group = typer.main.get_command(app)
    commands = cli_reference.commands(group)
    return {words: {name for item in command.params for name in item.opts} for words, command in commands}


def _lines() -> list[str]:
    """Return every command of the pages: in shell blocks, in consoles without their here-documents, and in a text."""
    text = all_text()
    blocks = re.findall(r"^```(?:sh|bash)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.split("\n") if line]
    lines += [re.sub(r"\\\n|<<'?END'?\n.*", "", step.command, flags=re.DOTALL) for step in steps(text)]
    programs = r"(?:(?:\.venv/bin/)?kd-sweeps|curl|docker|export|install|kubectl|make|mlflow|pip|python|ray|uvx?|wandb)"
    return lines + [span for span in code_spans(text) if re.match(rf"{programs} |--set ", span)]


def _typed() -> list[list[str]]:
    """Return every command line of ours, as words."""
    calls = [line for line in _lines() if re.match(r"(\.venv/bin/)?kd-sweeps [a-z]", line)]
    return [shlex.split(re.split(r" [|>] | 2>&1|; ", line)[0]) for line in calls]


def test_every_command_exists_and_every_command_is_named() -> None:
    commands = {words.split()[0] for words in _commands()}
    named = {words[1] for words in _typed()}
    assert named - commands == set()
    assert commands - named == set()


def test_every_option_that_is_typed_exists() -> None:
    commands = _commands()
    assert len(_typed()) > 40
    for words in _typed():
        command = next(name for name in (" ".join(words[1:3]), words[1]) if name in commands)
        ours = words[: words.index("--")] if "--" in words else words  # the rest goes to another program
        options = {word.split("=")[0] for word in ours if word.startswith("-") and not re.fullmatch(r"-?[\d+].*", word)}
        assert options - commands[command] == set(), words


def test_a_sweep_of_ones_own_training_says_which_difference_matters() -> None:
    searching = [words for words in _typed() if "--space" in words]
    assert len(searching) > 3
    for words in searching:
        assert re.search(r"--set (transfer\.margin=|trainer\.untreated\.)", " ".join(words)), words


def test_which_command_has_a_line_for_every_command() -> None:
    spans = [shlex.split(span) for span in code_spans((DOCS / "which-command.md").read_text(encoding="utf-8"))]
    typed = [words for words in spans if words[0] == "kd-sweeps" and words[1] != "COMMAND"]
    commands = _commands()
    names = [next(name for name in (" ".join(words[1:3]), words[1]) if name in commands) for words in typed]
    assert set(names) == set(commands)
    for name, words in zip(names, typed, strict=True):
        assert {word for word in words if word.startswith("-")} - commands[name] == set(), words


def test_no_page_or_example_installs_from_an_index_that_lacks_this_project() -> None:
    examples = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "examples").glob("*.py")]
    installed = re.findall(r"(?:pip install|--from) [^\n#`]*", "\n".join([all_text(), *examples]))
    assert len(installed) > 5
    assert [line for line in installed if re.search(r"install .*(?<![\w./-])kd-sweeps|--from '?kd-sweeps", line)] == []


def test_zsh_reads_every_command_as_bash_does() -> None:
    """An interactive zsh takes `# ...` for arguments, an unmatched pattern for an error, and =x for the path of x."""
    bare = {line: re.sub(r"'[^']*'|\"[^\"]*\"|\$\(.*?\)|\$\?", "", line) for line in _lines()}
    assert len(bare) > 200
    differing = {line for line, text in bare.items() if re.search(r"[\[{*?(]|(?<!\S)[#=]", text)}
    assert differing == {"wandb sync runs/wandb/offline-run-*"}, "a pattern that matches, in both shells"


def test_every_preset_has_its_row_with_its_numbers() -> None:
    for page in ("quickstart.md", "reference/spec.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        for name, spec in PRESETS.items():
            (row,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
            assert f"{spec.source.images:,} -> " in row
            assert f"{spec.target.images:,}" in row
            rounds = ", ".join(f"{points} x {seeds}" for points, seeds in spec.confirm.rounds)
            assert f"| {spec.search.trials} | {rounds} |" in row
            assert f"{spec.transfer.seeds} seeds" in row


def test_a_preset_takes_as_many_minutes_on_every_page() -> None:
    named = r"\btiny\b.{0,60}?\babout (\w+) minutes?\b"
    texts = {page.name: page.read_text(encoding="utf-8") for page in (README, *DOCS.glob("*.md"))}
    named_minutes = [(name, match[1]) for name, text in texts.items() for match in re.finditer(named, text)]
    assert {name for name, _ in named_minutes} >= {"quickstart.md", "tutorial.md"}
    assert {minutes for _, minutes in named_minutes} == {str(MINUTES["tiny"])}


def test_the_python_examples_import_public_names_only() -> None:
    blocks = re.findall(r"```python\n(.*?)```", all_text(), flags=re.DOTALL)
    imported = {
        name for block in blocks for line in re.findall(r"from sweeps import (.+)", block) for name in line.split(", ")
    }
    assert imported == set(sweeps.__all__)


def test_the_readme_is_short_and_begins_with_what_it_is_for() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    first_screen = "\n".join(lines[:30])
    assert "strategies.svg" in first_screen
    assert "wrong in at most" in first_screen
    assert "make run" in first_screen


@pytest.mark.parametrize("page", [*pages(), DOCS / "llms.txt"], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_relative_link_and_image_is_there(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        if "://" in target:
            continue
        file = page if not path else page.parent / path
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w-]", "", text.lower().replace(" ", "-")) for text in headings}, target


def test_no_placeholder_and_no_missing_file() -> None:
    for path in ("Makefile", "docker-compose.yml", ".env.example", ".ci/run", "requirements.lock"):
        assert (REPOSITORY / path).is_file()
    for mark in ("@@", "TODO", "FIXME", "lorem ipsum"):
        assert mark not in all_text(), "a placeholder was left"
