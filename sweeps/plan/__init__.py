"""From a spec to phases, tasks, seeds and points, and the frozen selections between phases."""
