"""Containers: a real engine, the stack in it, manifests as they are rendered, and command lines without an engine."""
