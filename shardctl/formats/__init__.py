"""The formats of weights files, and the index that lists the files of a set."""
