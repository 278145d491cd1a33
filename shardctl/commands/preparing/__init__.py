"""From the arguments of a writer to a run that is ready to go."""
