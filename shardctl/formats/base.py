"""What a format is: its traits, and what reads and writes its files.

A format is a value of `Format`. Everything outside `formats/` asks its traits and never compares
its name. To add one, write a package with a `Format` and what it loads, and add the value to
`registry.BUILT_IN`; a program can add one at run time with `registry.register`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:  # the traits are needed for `--help`, which has no use for these
    from shardctl.findings import Report
    from shardctl.layout import Layout
    from shardctl.model import File, Tensor
    from shardctl.stores.base import Reader


#: Bytes of either end of a file that `FormatReader.recognise` is given.
END_BYTES = 64


class FormatReader(Protocol):
    """Reads the files of a format.

    It never opens files and does not know where bytes are: it is given a reader and asks it for
    ranges.
    """

    def recognise(self, head: bytes, tail: bytes) -> bool:
        """Whether a file with this beginning and end (up to 64 bytes each) claims to be one.

        The end is empty as long as it was not read. What is claimed then is claimed with any end.
        """

    def read(self, reader: Reader, report: Report) -> File | None:
        """Read the header only. Errors go to `report`; None if nothing usable is left.

        A file that is returned although errors were reported holds what could still be made out,
        for `verify` to go on with; its tensors lie within the file. `File.format` is the name of
        the format.
        """


class FormatWriter(Protocol):
    """Lays out the files of a format.

    `metadata` are string pairs, empty for a format that has no metadata. With `block`, a size in
    bytes, tensors keep their order and are padded, as far as the format can, until their data has
    the same offset modulo `block` as in its source, so that whole blocks can be shared; without it
    the file is compact, as upstream writes it.
    """

    def measure(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> int:
        """Return the exact bytes of the file that `lay_out` would give; raises what it raises."""

    def lay_out(
        self, tensors: Sequence[Tensor], metadata: Mapping[str, str], block: int | None = None
    ) -> Layout:
        """Lay out the file of these tensors.

        Raises UsageError for a tensor that the format cannot hold.
        """


class FormatListing(Protocol):
    """Names the files of a checkpoint, and lists what is in them: see `Format.listed_by`."""

    def name(self, number: int) -> str:
        """Return the name of a file of tensors by its number, counted from 1."""

    def listed(self, files: Mapping[str, Sequence[Tensor]], block: int | None = None) -> bytes:
        """Return the bytes of the file that lists the others.

        `files` are the tensors of each file by its name, laid out with `block`.
        """


@dataclass(frozen=True, slots=True)
class Loaded:
    """A tensor as another loader reads it: its shape in elements, and their bytes, row-major."""

    shape: tuple[int, ...]
    data: memoryview


@dataclass(frozen=True, slots=True)
class Upstream:
    """A file as another loader has opened it: the names of its tensors, and what loads one.

    Names are as in `source.state_dict`: dotted where they are nested. `load` raises KeyError where
    the loader has no tensor of that name.
    """

    names: Collection[str]
    load: Callable[[Tensor], Loaded]


#: Opens a local file with the format's own loader; a nested state dict is named by its key.
OpenUpstream: TypeAlias = "Callable[[File, str | None], Upstream]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format, by its traits. Whatever a run may not need is imported by the `load_…` functions.

    Suffixes begin with a dot; no two formats have one in common.
    """

    #: What `--to` takes, and the value of `container` in JSON documents.
    name: str
    #: Suffix of the files that are written.
    suffix: str
    #: Suffixes of file names that promise this format, `suffix` among them.
    suffixes: tuple[str, ...]
    #: The stem that loaders of this format look for, one of `naming.KNOWN_STEMS`.
    default_stem: str
    #: What reads its files, in the order in which they are asked: one for each variety of file.
    #: None for a format whose files mean nothing alone: `source.distributed` reads them together.
    load_readers: tuple[Callable[[], FormatReader], ...]
    #: What lays its files out; None for a format that is only read.
    load_writer: Callable[[], FormatWriter] | None = None
    #: The name of the file by which loaders find the others and all that is in them, be they one or
    #: several. None where names can be chosen, and several files have an index as transformers
    #: writes it.
    listed_by: str | None = None
    #: What names these files and writes that list, of a format that has one and can be written.
    load_listing: Callable[[], FormatListing] | None = None
    #: What opens its files with upstream's own loader, to compare with; it may raise ImportError.
    load_upstream: Callable[[], OpenUpstream] | None = None
    #: String pairs that each file of it needs in its metadata; None for a format without metadata.
    metadata: Mapping[str, str] | None = None
    #: Whether several tensors may view one storage, with offsets and strides.
    #:
    #: If so, packing never divides a storage, and tied or expanded tensors take no further bytes.
    shares_storages: bool = False
    #: Whether other programs use its suffixes too (`.bin`), so that a name alone proves nothing.
    ambiguous_suffixes: bool = False
    #: Names that lie together in a directory which is an unpacked file of it; none for no archive.
    members: frozenset[str] = frozenset()
    #: Whether an index of it may list names that promise no format. Names of another it never may.
    lists_any_suffix: bool = False

    @property
    def is_in_pieces(self) -> bool:
        """Whether a file of it is a piece of a checkpoint, and means nothing alone."""
        return not self.load_readers

    @property
    def has_metadata(self) -> bool:
        """Whether a file has room for string pairs."""
        return self.metadata is not None
