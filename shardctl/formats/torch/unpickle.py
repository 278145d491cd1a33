"""Torch's pickles read as data: opcodes in, inert values out.

Nothing is imported, and nothing is called, ever.

A name to import becomes a `Global`; what would be built from any but the few known ones becomes an
`Opaque`, which has a kind and the values that it is made of.
"""

from __future__ import annotations

from shardctl.formats.limits import BYTES_PER_WEIGHT, weight_limit
from shardctl.formats.pickle.interpreter import Interpreter
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.torch.calls.calls import dialect
from shardctl.formats.torch.calls.storage_ids import storage_of_legacy, storage_of_zip

ZIP, LEGACY = dialect(storage_of_zip), dialect(storage_of_legacy)


def unpickle(
    data: bytes,
    start: int = 0,
    *,
    legacy: bool = False,
    bytes_per_weight: int = BYTES_PER_WEIGHT,
) -> Unpickled:
    """Read the pickle at `start`; with `legacy`, persistent ids are those of torch's legacy files.

    For each `bytes_per_weight` of its bytes, its values may weigh one. Raises PickleFaultError for
    what is not a valid pickle, or beyond the caps.
    """
    limit = weight_limit(len(data), bytes_per_weight)
    return Interpreter(data, start, LEGACY if legacy else ZIP, limit).run()
