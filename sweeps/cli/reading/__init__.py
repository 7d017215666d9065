"""Commands that read results and stand in files of their own, since the folder above is full."""
