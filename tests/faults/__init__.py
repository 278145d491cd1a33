"""Crashes and faults: the real program, killed, starved and cut off."""
