"""The proof that nothing was lost or counted twice."""
