"""The files of a run get their names: by identity, durably, and with a way back."""
