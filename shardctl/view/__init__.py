"""What is shown of a checkpoint, a plan or a verdict, as values that terminal and report draw.

Names and messages in these values are escaped already; sizes are bytes.
"""
