"""Several sweeps beside each other: where each of them stands, how their students differ, and how their specs do."""
