"""What was done: carrying out a plan."""
