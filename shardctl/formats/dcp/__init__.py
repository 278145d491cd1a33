"""Distributed checkpoints of torch (DCP): one pickle that says where each slice of a tensor is."""
