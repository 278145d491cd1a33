"""Tests of `shardctl.formats.torch.calls`."""
