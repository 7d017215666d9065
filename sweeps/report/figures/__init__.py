"""The figures of a report: their data, drawn as SVG for pages and as plotly figures for the dashboard, and captions."""
