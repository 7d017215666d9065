"""The error classes that the storage itself gives to attempts; each names why an attempt ended."""

LOST = "lost worker"
UNREADABLE = "unreadable"
