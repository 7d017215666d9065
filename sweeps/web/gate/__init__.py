"""What every request passes before a route sees it: limits, who asks, and what is written down of it."""
