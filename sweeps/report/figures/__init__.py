"""Figures of a report: data, SVG for pages, plotly for the dashboard, captions."""
