"""Parse the names of teachers, and make teachers: trained here, from a comparison method, or from a file of logits."""
