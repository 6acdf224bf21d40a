"""Training: what is planned from the data, the loss, the loop, its checkpoints and its progress."""
