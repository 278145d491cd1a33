"""A format that shardctl does not know, in the modules that a new format needs.

A file begins with a line of 18 bytes, `TOY1 ` and the length of the table in 12 digits. The table
follows, a line for each tensor (dtype, bytes, shape and name), then the tensors' bytes in that
order.
"""
