"""The commands, without a terminal: one module for each verb."""
