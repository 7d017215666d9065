"""The colours of every page, by what they are for, so that dark mode changes them in one place."""

COLOURS = """
:root {
  --text: #1a1a1a; --soft: #5a5a5a; --page: #fff; --panel: #f5f6f8; --line: #d9dce1; --mark: #0072b2;
  --good: #00553c; --good-panel: #dcf1e9; --bad: #8a3000; --bad-panel: #fbe3d7; --open: #6b4e00; --open-panel: #fdf1cf;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e8e8e8; --soft: #a9adb3; --page: #16181b; --panel: #212429; --line: #3a3f46; --mark: #56b4e9;
    --good: #8fdcc0; --good-panel: #143a2d; --bad: #ffb08a; --bad-panel: #45210f;
    --open: #f3d37a; --open-panel: #3d3110;
  }
}
html { font: 100%/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: var(--text); }
""".strip()
