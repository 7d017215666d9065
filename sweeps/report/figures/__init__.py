"""The figures of a report: their data, drawn as SVG for pages and as plotly figures for the dashboard, and captions.

It imports `sweeps.analysis` and is the only room that imports matplotlib and plotly; only `sweeps.report` imports it.
"""
