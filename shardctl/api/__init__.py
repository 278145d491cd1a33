"""The functions of the package, for programs: each does what the command of its name does.

Paths are strings or path objects, or URLs of a registered store. Settings have the names by which
messages and hints call them. Errors are those of `shardctl.errors`; nothing is printed.
"""
