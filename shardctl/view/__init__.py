"""A checkpoint, a plan or a verdict to show, as values that terminal and report draw.

Names and messages in these values are escaped already; sizes are bytes.
"""
