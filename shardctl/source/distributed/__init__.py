"""Checkpoints that several processes saved: read as one checkpoint of whole tensors."""
