"""Findings as sentences, pages, figures and tables.

It imports `sweeps.analysis`, and is the only room that draws (matplotlib, plotly) or tests with scipy; `service` and
`cli` may import it.
"""
