"""What a run records: for the next one if it is interrupted, and when it has ended."""
