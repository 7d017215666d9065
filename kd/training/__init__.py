"""Train students: the Distiller, the compiled trainer, and batches."""
