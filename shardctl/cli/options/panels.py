"""How options are grouped: by headings, and by which exclude each other."""

from __future__ import annotations

#: The headings in the help and the manual, in order.
PANELS = LOOK, WHICH, BECOME, WHAT, WHERE, SAFETY, OUTPUT = (
    "What to look at",
    "Which tensors, and their names",
    "What tensors become",
    "What to write",
    "Where and under which names",
    "Safety",
    "Output",
)

#: The options, by the names of their parameters, that say how large or how many the shards are.
SIZE_GROUP = ("max_shard_size", "num_shards", "single")
