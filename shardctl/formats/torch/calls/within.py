"""A tensor of a pickle as a view of its storage, checked to lie within it."""

from __future__ import annotations

from shardctl.findings import Finding, Report
from shardctl.formats.pickle.values import ViewRef
from shardctl.formats.torch.calls.views import reach
from shardctl.model import Storage, Tensor

_DAMAGED = "the file is damaged or was crafted: fetch or save it again"


def tensor_within(
    storage: Storage, view: ViewRef, name: str, full: str, path: str, report: Report
) -> Tensor | None:
    """Return the tensor of that name; None, and a finding, where it is not within its storage.

    `full` is its name with those of the dictionaries around it, `path` that of the file.
    """
    bits, begin = view.dtype.bits, view.storage.offset
    # A legacy view of a storage begins inside it; the tensor is one of the whole then.
    if begin and 8 * begin % bits:
        message = f"the tensor begins within an element: at byte {begin:,} of its storage"
        report(_fault(message, path, full, storage))
        return None
    end = (view.offset + reach(view.shape, view.strides)) * bits // 8
    if begin + end > storage.extent.length or end > view.storage.nbytes:
        message = (
            f"the tensor reaches to byte {end:,} of a storage of {view.storage.nbytes:,} bytes"
        )
        report(_fault(message, path, full, storage))
        return None
    offset = view.offset + 8 * begin // bits
    return Tensor(name, view.dtype, view.shape, storage, offset, view.strides)


def _fault(message: str, path: str, full: str, storage: Storage) -> Finding:
    at = storage.extent.offset
    return Finding("tensor-out-of-bounds", "error", message, _DAMAGED, path, full, at)
