"""Specs: their model, and their form as TOML."""
