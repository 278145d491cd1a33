"""From a model's memory to a checkpoint."""
