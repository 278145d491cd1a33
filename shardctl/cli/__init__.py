"""The command line. Only this package knows Typer, Rich and the terminal."""
