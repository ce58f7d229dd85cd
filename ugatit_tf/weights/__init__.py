"""The official TF1 and PyTorch checkpoints: reading them, and moving their weights into the six networks."""
