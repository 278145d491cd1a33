"""Source bytes that do not have the checksum that their source records for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shardctl.engine.parts import Outcome
from shardctl.errors import FormatError
from shardctl.layout import Check, Copy, Layout
from shardctl.text import escape


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a source and the CRC-32 that was found for them in place of the recorded one."""

    check: Check
    found: int

    @property
    def place(self) -> str:
        """Where it is, for people: the tensor where it is known, the file, and the offset in it."""
        extent, tensor = self.check.extent, self.check.tensor
        of_tensor = "" if tensor is None else f"tensor '{escape(tensor)}' in "
        return f"{of_tensor}'{escape(extent.path)}' at byte {extent.offset:,}"

    def error(self) -> FormatError:
        """Return the error that ends a run which does not accept damage."""
        extent, tensor = self.check.extent, self.check.tensor
        of_tensor = "" if tensor is None else f" of tensor '{escape(tensor)}'"
        return FormatError(
            f"'{extent.path}': the record{of_tensor} at byte {extent.offset:,} does not match its "
            f"CRC-32 (recorded {self.check.crc32:08x}, found {self.found:08x})",
            hint="the file is damaged: download or save it again; `verify(deep=True)` lists "
            "every such record; `accept_damage` writes the bytes as they are",
            code="zip-crc-mismatch",
            file=extent.path,
            tensor=tensor,
            offset=extent.offset,
        )


def damage(layout: Layout, outcome: Outcome, *, accept: bool) -> tuple[Damage, ...]:
    """Return what is damaged of the sources of a layout, as far as its bytes were summed.

    Raises FormatError for the first of it unless it is accepted.
    """
    found = tuple(_damage(layout, outcome))
    if found and not accept:
        raise found[0].error()
    return found


def _damage(layout: Layout, outcome: Outcome) -> Iterator[Damage]:
    for number, piece in enumerate(layout.pieces):
        if not isinstance(piece, Copy | Check) or piece.crc32 is None:
            continue
        crc32 = outcome.crcs.get(number)
        if crc32 is not None and crc32 != piece.crc32:
            check = piece if isinstance(piece, Check) else Check(piece.extent, piece.crc32)
            yield Damage(check, crc32)
