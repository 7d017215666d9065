"""Parse the names of teachers and make them: trained here, or from a comparison method's model."""
