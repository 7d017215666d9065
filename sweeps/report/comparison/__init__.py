"""Several sweeps on one page: the table, the forest plot, and every training as CSV."""
