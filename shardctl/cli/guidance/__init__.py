"""What helps with the command line: help, and what is said of a wrong one."""
