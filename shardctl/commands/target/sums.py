"""What stays of the `SHA256SUMS` of a target: the lines of files that go are removed.

There may be one in the target's directory, in every directory below it on the way to such a file,
and in those of the pipeline around it, which are not the target's and stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from shardctl.checksums import CHECKSUMS, edit_checksums, is_plain, parse_checksums
from shardctl.commands.target.resolve import listed
from shardctl.errors import FormatError
from shardctl.source.recorded.checksum_file import Sums, checksums_bytes
from shardctl.stores.base import Store
from shardctl.stores.paths import below
from shardctl.text import escape

#: What is added to the name of a file for that of its signature, by GnuPG, signify, minisign and
#: others.
_SIGNATURES = (".asc", ".sig", ".gpg", ".sign", ".minisig")


@dataclass(frozen=True, slots=True)
class KeptSums:
    """What stays of each `SHA256SUMS` of a target that changes, by name (also `sub/SHA256SUMS`).

    `edited` are those of them that lose lines; `foreign` are those that are signed, too large, of
    another form or not a file, and therefore left alone.
    """

    data: Mapping[str, bytes] = field(default_factory=dict)
    edited: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


def sums_above(names: Collection[str]) -> Mapping[str, frozenset[str]]:
    """Return each `SHA256SUMS` that may list some files, with the names that they have in it.

    Names are from the target's directory on; the one there is among them in any case.
    """
    listed: dict[str, set[str]] = {CHECKSUMS: set()}
    for name in names:
        parts = name.split("/")
        for length in range(len(parts)):
            sums = "/".join((*parts[:length], CHECKSUMS))
            listed.setdefault(sums, set()).add("/".join(parts[length:]))
    return {sums: frozenset(inside) for sums, inside in listed.items()}


def kept_sums(store: Store, directory: str, gone: Collection[str], *, wanted: bool) -> KeptSums:
    """Return what stays of each `SHA256SUMS` without the lines of the files `gone`.

    One is left alone where no line of it is about them, unless it is that of the directory itself
    and checksums are `wanted`.
    """
    data, edited, foreign = dict[str, bytes](), list[str](), list[str]()
    for name, inside in sums_above(gone).items():
        if name in gone:
            continue  # another file takes its place
        home = below(store, directory, name.rpartition("/")[0]) if "/" in name else directory
        try:
            old = checksums_bytes(store, home)
        except FormatError:  # too large to be read
            foreign.append(name)
            continue
        asked = wanted and name == CHECKSUMS
        if old is None:
            if asked and CHECKSUMS in listed(store, home):
                foreign.append(name)  # a directory, a device, or a link that leads nowhere
            elif asked:
                data[name] = b""
        elif not is_plain(old):
            foreign.append(name)
        elif (loses := parse_checksums(old).keys() & inside) or asked:
            if _is_signed(store, home):
                foreign.append(name)
                continue
            data[name] = edit_checksums(old, inside, {})
            edited.extend([name] if loses else [])
    return KeptSums(data, tuple(edited), tuple(foreign))


def sums_notes(edited: Collection[str], foreign: Iterable[str]) -> Iterator[str]:
    """Yield notes on the `SHA256SUMS` of a target that lose lines, and on those left alone."""
    if edited:
        names = ", ".join(map(escape, edited))
        yield f"the lines of files that are replaced or removed go from {names}"
    for name in foreign:
        what = "is signed, too large, of another form or not a file"
        yield f"{escape(name)} in the target {what}, and is left as it is"


def _is_signed(store: Store, home: str) -> bool:
    """Whether a signature lies beside a `SHA256SUMS`: it holds for the bytes as they are."""
    path = store.join(home, CHECKSUMS)
    return any(store.kind(path + suffix) is not None for suffix in _SIGNATURES)


def stale_notes(lists: Iterable[Sums], gone: Collection[str]) -> Iterator[str]:
    """Yield a note for each `SHA256SUMS` that lists files which change, and is not changed."""
    for sums in lists:
        if sums.digests.keys() & set(gone):
            yield (
                f"'{escape(sums.path)}' lists files that are replaced here, and is left as it is: "
                "write it again"
            )
