"""A format that shardctl does not know, in the files that a new format needs: what an author would write.

A file is a line of 18 bytes, `TOY1 ` and the length of the table in 12 digits, then the table, a line
for each tensor (dtype, bytes, shape and name), then the tensors' bytes in that order.
"""
