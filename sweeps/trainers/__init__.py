"""What the engine asks of a training."""
