"""Findings as sentences, pages, figures and tables: every module turns a `Findings` value into text or pictures.

It imports `sweeps.analysis` and reads no storage; `service` and `cli` may import it.
"""
