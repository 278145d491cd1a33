"""Small changes of the code, each of which the tests should notice: `python -m tools.mutants`."""
