"""From SOURCE to a checkpoint: which files it means, and what their headers say."""
