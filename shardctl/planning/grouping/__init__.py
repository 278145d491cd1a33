"""Which tensors stay together, and how they are divided into files."""
