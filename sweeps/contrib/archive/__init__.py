"""A sweep as one file: write it, import it, verify what it claims."""
