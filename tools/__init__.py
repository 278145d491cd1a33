"""What writes the completions, the manual and the reference from the command line itself: `make generate`."""
