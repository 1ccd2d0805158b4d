"""What makes the road's training fast and safe: features computed once, checkpoints, pretext tasks."""
