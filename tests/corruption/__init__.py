"""The corpus of broken files, and what each must get."""
