"""How the progress of a run is shown on stderr."""
