"""The seam to the containers: what a format promises.

A format never opens files and never knows where bytes live: it is given a reader and asks it for
ranges. What it finds wrong it reports; `strict` is the report that raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from shardctl.findings import Report
from shardctl.layout import Layout
from shardctl.model import File, Tensor
from shardctl.stores.base import Reader


class Format(Protocol):
    """A file format for weights that can be read."""

    @property
    def name(self) -> str:
        """`safetensors` or `bin`."""

    def recognise(self, head: bytes, tail: bytes) -> bool:
        """Whether a file that begins and ends so (up to 64 bytes each) claims to be of this format."""

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read the header only. Errors go to `report`; None where it returned and nothing usable is left.

        A file that is returned although errors were reported holds what could still be made out,
        for `verify` to go on with; its tensors lie within the file.
        """


class WritableFormat(Format, Protocol):
    """A format that can be written as well."""

    @property
    def suffix(self) -> str:
        """`.safetensors` or `.bin`."""

    def measure(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> int:
        """Exact bytes of the file that `lay_out` would give, without building it."""

    def lay_out(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> Layout:
        """The file that holds these tensors: compact, as upstream writes it, or, with a `block`, shareable.

        Shareable, tensors keep their order, and what can be padded is padded until data stands at
        the same offset modulo `block` bytes as in its source, so that whole blocks can be shared.
        Raises UsageError for a tensor that the format cannot hold.
        """
