"""Text on a terminal: lines break between words, and stand under each other."""

import pytest

from sweeps.terminal import escape_control_chars, grey, number_of, say, wrap, wrapped


def test_a_long_line_breaks_between_words_under_its_own_words() -> None:
    text = "verdict  a regret of one point from the margin\n  kd-sweeps launch s --storage sqlite:///a.db"
    assert wrap(text, 30).split("\n") == [
        "verdict  a regret of one point",
        "         from the margin",
        "  kd-sweeps launch s --storage",
        "  sqlite:///a.db",
    ]


def test_what_fits_what_a_program_reads_and_one_long_word_stay_as_they_are() -> None:
    assert wrap("a  b\n\nc", 4) == "a  b\n\nc"
    assert wrap("a " * 50, None) == "a " * 50
    assert wrap("sqlite:///" + "a" * 50, 30) == "sqlite:///" + "a" * 50
    assert wrap(f"\x1b[90m{'a' * 30}\x1b[0m", 30) == f"\x1b[90m{'a' * 30}\x1b[0m", "a colour takes no room"


def test_a_message_fits_the_terminal_and_is_one_line_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("word " * 30)
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    say("word " * 30)
    assert capsys.readouterr().err.split("\n") == [" ".join(["word"] * 16), " ".join(["word"] * 14), ""]


def test_only_a_terminal_that_wants_colours_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert max(map(len, wrapped(f"kd-sweeps report {'s' * 20} --output DIR", 40))) <= 40, "but a line fits, if it can"


def test_a_comment_that_does_not_fit_stays_one() -> None:
    assert wrap("  kd-sweeps worker s --storage URL   # one more worker, in this folder", 40).split("\n") == [
        "  kd-sweeps worker s --storage URL",
        "    # one more worker, in this folder",
    ]


def test_one_thing_has_no_plural() -> None:
    assert [number_of(number, "task") for number in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]


def test_what_would_steer_a_terminal_is_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert escape_control_chars("a\tb\nc ü 🙂") == "a\tb\nc ü 🙂"
    assert (
        escape_control_chars("\x1b]0;x\x07 \r \x00 \x7f \x9b2J")
        == "\\u001b]0;x\\u0007 \\u000d \\u0000 \\u007f \\u009b2J"
    )
    assert escape_control_chars("a\u202etxt.exe\u200b\ufeff") == "a\\u202etxt.exe\\u200b\\ufeff"
    assert escape_control_chars("\U0001f469\u200d\U0001f52c") == "\U0001f469\u200d\U0001f52c", "one emoji of two"
    assert escape_control_chars("\x1b[90mgrey\x1b[0m") == "\x1b[90mgrey\x1b[0m", "which is ours"
    say("\x1b[2J")
    assert capsys.readouterr().err == "\\u001b[2J\n"
