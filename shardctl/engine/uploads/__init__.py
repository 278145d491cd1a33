"""Runs into object stores: every file is an upload, and all are completed at the end."""
