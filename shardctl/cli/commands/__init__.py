"""What each command does with its arguments: it makes a call, and prints the result."""
