"""What torch's pickles call, understood without calling it."""
