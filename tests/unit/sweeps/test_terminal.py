"""Text on a terminal: lines break between words and are aligned."""

import pytest

from sweeps.terminal import escape_control_chars, grey, number_of, say, wrap, wrapped


def test_a_long_line_breaks_between_words_with_aligned_continuation() -> None:
    text = "verdict  a regret of one point from the margin\n  kd-sweeps launch s --storage sqlite:///a.db"
    assert wrap(text, 30).split("\n") == [
        "verdict  a regret of one point",
        "         from the margin",
        "  kd-sweeps launch s --storage",
        "  sqlite:///a.db",
    ]


def test_short_lines_lines_for_programs_and_long_words_are_not_wrapped() -> None:
    assert wrap("a  b\n\nc", 4) == "a  b\n\nc"
    assert wrap("a " * 50, None) == "a " * 50
    assert wrap("sqlite:///" + "a" * 50, 30) == "sqlite:///" + "a" * 50
    assert wrap(f"\x1b[90m{'a' * 30}\x1b[0m", 30) == f"\x1b[90m{'a' * 30}\x1b[0m", "colour codes have no width"


def test_a_message_is_wrapped_on_a_terminal_and_one_line_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("word " * 30)
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    say("word " * 30)
    assert capsys.readouterr().err.split("\n") == [" ".join(["word"] * 16), " ".join(["word"] * 14), ""]


def test_only_a_terminal_without_no_color_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grey("a") == "a"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert grey("a") == "\x1b[90ma\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert grey("a") == "a"


def test_no_line_breaks_inside_a_command_or_between_a_number_and_its_unit() -> None:
    text = "finished; next: kd-sweeps report mnist-kd --output DIR, which is 95 % of it at T = 3"
    assert wrapped(text, 40, then="  ") == [
        "finished; next:",
        "  kd-sweeps report mnist-kd --output DIR,",
        "  which is 95 % of it at T = 3",
    ]
    assert wrapped("it holds 95 %", 12) == ["it holds", "95 %"]
    assert max(map(len, wrapped(f"kd-sweeps report {'s' * 20} --output DIR", 40))) <= 40, "a long command breaks to fit"


def test_a_command_after_its_purpose_is_wrapped_to_a_line_of_its_own() -> None:
    assert wrap("  one more worker, in this folder: kd-sweeps worker s --storage URL", 40).split("\n") == [
        "  one more worker, in this folder:",
        "  kd-sweeps worker s --storage URL",
    ]


def test_a_count_of_one_is_singular() -> None:
    assert [number_of(number, "task") for number in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]


def test_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    assert escape_control_chars("a\tb\nc ü 🙂") == "a\tb\nc ü 🙂"
    assert (
        escape_control_chars("\x1b]0;x\x07 \r \x00 \x7f \x9b2J")
        == "\\u001b]0;x\\u0007 \\u000d \\u0000 \\u007f \\u009b2J"
    )
    assert escape_control_chars("a\u202etxt.exe\u200b\ufeff") == "a\\u202etxt.exe\\u200b\\ufeff"
    assert escape_control_chars("\U0001f469\u200d\U0001f52c") == "\U0001f469\u200d\U0001f52c", "a joined emoji stays"
    colours = "\x1b[90mgrey\x1b[0m \x1b[32mof --install-completion\x1b[0m"
    assert escape_control_chars(colours) == colours
    say("\x1b[2J")
    assert capsys.readouterr().err == "\\u001b[2J\n"
