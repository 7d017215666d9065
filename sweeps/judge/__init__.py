"""Judge results of other programs: read runs, compare settings over seeds, write what is shown."""
