"""The arguments and options, and which command has which."""
