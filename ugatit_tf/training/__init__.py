"""Training: the step, the state around it, checkpoints, and what the user sees."""
