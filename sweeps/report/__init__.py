"""Findings as sentences, pages, figures and tables: every module turns a `Findings` value into text or pictures."""
