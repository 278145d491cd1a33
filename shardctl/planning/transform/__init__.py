"""Which tensors are written, under which names, and as what."""
