"""Pickles, interpreted as data: nothing in them is ever called."""
