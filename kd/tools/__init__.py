"""Tools of the standard library alone, which every other package may import."""
