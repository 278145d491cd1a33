"""The program as its users and their scripts meet it: a process with arguments, two streams and an
exit code.
"""
