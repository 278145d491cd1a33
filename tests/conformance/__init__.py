"""What is written loads equal with the packages that people load with, and what they write is
read.
"""
