"""Fast and safe training: cached features, checkpoints, pretext tasks."""
