"""Write a sweep into one file, put it into another storage, and check what a file claims."""
