"""Train students: the Distiller, the compiled trainer, batches and numerics."""
