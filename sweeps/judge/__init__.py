"""Results made elsewhere: read the runs, compare settings over seeds, say what is shown."""
