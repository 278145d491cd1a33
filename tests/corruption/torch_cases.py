"""The corpus of broken, odd and hostile torch files: one case for each rule, made on demand.

Zips and pickles are made by hand, without torch. Run as a program, it writes them to a directory:
`python -m tests.corruption.torch_cases DIRECTORY`.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.corruption.cases import Case
from tests.corruption.hostile_pickles import HOSTILE, TENSOR, persid, tensor, text
from tests.corruption.legacy_cases import add_legacy
from tests.support.zip_files import Entry, pack

_W = struct.pack("<4f", 1, 2, 3, 4)
#: `{"w": <float32 tensor of 4 elements on storage 0>}`.
ROOT = b"\x80\x02}" + text("w") + TENSOR + b"s."


def records(root: bytes = ROOT, **more: Any) -> dict[str, Entry]:
    """The entries of a sound file by the last part of their names; `more` are fields of all of
    them.
    """
    contents = {"data.pkl": root, "byteorder": b"little", "0": _W, "version": b"3\n"}
    return {
        key: Entry(f"archive/data/{key}" if key == "0" else f"archive/{key}", data, **more)
        for key, data in contents.items()
    }


def archive(root: bytes = ROOT, /, **changed: Entry | None) -> bytes:
    """A file with some records replaced, left out (None) or added, by the last part of
    their names.
    """
    entries: dict[str, Entry | None] = {**records(root), **changed}
    return pack([entry for entry in entries.values() if entry is not None])


def _archived(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """Return what makes a file with a root."""
    return lambda: archive(make())


def _with(key: str, **fields: Any) -> bytes:
    """A sound file but for some fields of one entry."""
    entries = records()
    for name, value in fields.items():
        setattr(entries[key], name, value)
    return pack(list(entries.values()))


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _tensors(*pickled: bytes, names: str = "abcdefgh") -> bytes:
    """A root dict of these values."""
    items = b"".join(text(name) + value for name, value in zip(names, pickled, strict=False))
    return b"\x80\x02}(" + items + b"u."


Add = Callable[..., None]


def _cases() -> list[Case]:
    cases: list[Case] = []

    def add(
        name: str, code: str | None, make: Callable[[], bytes], severity: str = "error"
    ) -> None:
        cases.append(Case(name, ".bin", make, code, severity))

    for family in (
        _sound,
        _ends,
        _directory,
        _locals,
        _directories,
        _marks,
        _storages,
        _views,
        _pickles,
        add_legacy,
    ):
        family(add)
    for name, (code, make) in HOSTILE.items():
        add(name, code, _archived(make))
    return cases


def _sound(add: Add) -> None:
    """Files that are as they should be, or odd in ways that change nothing."""
    add("sound", None, archive)
    add("sound without descriptors", None, lambda: pack(list(records(descriptor=False).values())))
    add("padded extra fields", None, lambda: _with("0", local_extra=b"FB\x05\0ZZZZZ"))
    add("no byteorder", None, lambda: archive(byteorder=None))
    add("times", None, lambda: _with("0", local={"time": 77, "date": 88}))
    add("numbers as keys", None, lambda: archive(b"\x80\x02}K\x07" + TENSOR + b"s."))
    add("empty dict", None, lambda: archive(b"\x80\x02}."))
    add(
        "oversized name", None, lambda: archive(b"\x80\x02}" + text("n" * 100_000) + TENSOR + b"s.")
    )


def _ends(add: Add) -> None:
    """The end record, and bytes before and after the zip."""
    add("prepended byte", "zip-ambiguous", lambda: archive(**{"data.pkl": _first(b"#")}))
    add(
        "prepended script", "zip-ambiguous", lambda: archive(**{"data.pkl": _first(b"#!/bin/sh\n")})
    )
    add("prepended, offsets not moved", "zip-ambiguous", lambda: b"PK\x03\x04" + archive())
    add("appended byte", "zip-ambiguous", lambda: archive() + b"x")
    add("appended zip", "zip-ambiguous", lambda: archive() + archive())
    add("comment", "zip-ambiguous", lambda: pack(list(records().values()), comment=b"hello"))
    add(
        "fake end record in the comment",
        "zip-ambiguous",
        lambda: pack(list(records().values()), comment=b"PK\x05\x06" + bytes(18)),
    )
    add("truncated by a byte", "file-truncated", lambda: archive()[:-1])
    add("truncated in the directory", "file-truncated", lambda: archive()[:-60])
    add("truncated in the data", "file-truncated", lambda: archive()[:200])
    add("only a signature", "file-truncated", lambda: b"PK\x03\x04")
    add("only an end record", "zip-invalid", lambda: pack([]))
    for name in ("disk", "first", "here"):
        add(
            f"end: {name}",
            "zip-ambiguous",
            lambda name=name: pack(list(records().values()), end={name: 7}),
        )
    add(
        "end: too many entries",
        "zip-invalid",
        lambda: pack(list(records().values()), end={"here": 5, "count": 5}),
    )
    add(
        "end: too few entries",
        "zip-invalid",
        lambda: pack(list(records().values()), end={"here": 3, "count": 3}),
    )
    add(
        "end: directory elsewhere",
        "zip-ambiguous",
        lambda: pack(list(records().values()), end={"begin": 3}),
    )
    add(
        "end: zip64 missing",
        "zip-invalid",
        lambda: pack(list(records().values()), end={"begin": 0xFFFFFFFF}),
    )
    add(
        "bytes before the directory",
        "zip-ambiguous",
        lambda: pack(list(records().values()), before_directory=b"hidden"),
    )
    add("bytes between records", "zip-ambiguous", lambda: _with("0", before=b"hidden"))


def _first(data: bytes) -> Entry:
    return Entry("archive/data.pkl", ROOT, before=data)


def _directory(add: Add) -> None:
    """Entries of the central directory."""
    add(
        "encrypted",
        "zip-invalid",
        lambda: _with("0", central={"flags": 0x809}, local={"flags": 0x809}),
    )
    add(
        "unknown flag",
        "zip-invalid",
        lambda: _with("0", central={"flags": 0x848}, local={"flags": 0x848}),
    )
    add("deflated", "zip-invalid", lambda: _with("0", central={"method": 8}, local={"method": 8}))
    add(
        "unknown method",
        "zip-invalid",
        lambda: _with("0", central={"method": 99}, local={"method": 99}),
    )
    add("two sizes", "zip-ambiguous", lambda: _with("0", central={"packed": 8}))
    add(
        "record beyond the file",
        "zip-invalid",
        lambda: _with("0", central={"size": 1 << 30, "packed": 1 << 30}),
    )
    add("record of 2^64 - 1 bytes", "zip-invalid", lambda: _with("0", **_wide(2**64 - 1)))
    add(
        "zip64 field missing",
        "zip-invalid",
        lambda: _with("0", central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}),
    )
    add(
        "zip64 field twice",
        "zip-ambiguous",
        lambda: _with("0", central_extra=2 * (b"\1\0\x08\0" + bytes(8))),
    )
    add(
        "second name",
        "zip-ambiguous",
        lambda: _with("0", central_extra=b"\x75\x70\x06\0" + bytes(6)),
    )
    add("extra field cut short", "zip-invalid", lambda: _with("0", central_extra=b"FB"))
    add("extra field too long", "zip-invalid", lambda: _with("0", central_extra=b"FB\xff\0"))
    add("entry comment", "zip-invalid", lambda: _with("0", central={"comment": 3}))
    add("on another disk", "zip-invalid", lambda: _with("0", central={"disk": 1}))
    add("name too long", "zip-invalid", lambda: _with("version", central={"name": 60_000}))
    add("name not UTF-8", "zip-invalid", lambda: archive(extra=Entry(b"archive/\xff", b"")))
    add("duplicate", "zip-ambiguous", lambda: archive(extra=Entry("archive/data/0", _W)))
    add(
        "duplicate but for case",
        "zip-ambiguous",
        lambda: archive(extra=Entry("archive/DATA/0", _W)),
    )
    add("duplicate pickle", "zip-ambiguous", lambda: archive(extra=Entry("archive/data.pkl", ROOT)))
    add("two at one offset", "zip-ambiguous", lambda: _with("version", central={"at": 0}))
    add(
        "offset past the directory",
        "zip-invalid",
        lambda: _with("version", central={"at": 1 << 20}),
    )


def _wide(size: int) -> dict[str, Any]:
    both = {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}
    return {"central": both, "central_extra": struct.pack("<HHQQ", 1, 16, size, size)}


def _locals(add: Add) -> None:
    """Local headers and descriptors that contradict the directory."""
    add("local: another name", "zip-ambiguous", lambda: _with("0", local_name=b"archive/data/1"))
    add("local: longer name", "zip-ambiguous", lambda: _with("0", local_name=b"archive/data/00"))
    add("local: other flags", "zip-ambiguous", lambda: _with("0", local={"flags": 0x800}))
    add("local: other method", "zip-ambiguous", lambda: _with("0", local={"method": 8}))
    add("local: other size", "zip-ambiguous", lambda: _with("0", local={"size": 15}))
    add("local: other checksum", "zip-ambiguous", lambda: _with("0", local={"crc": 15}))
    add("local: checksum equal to the size", "zip-ambiguous", lambda: _with("0", local={"crc": 16}))
    add("local: shifted extra", "zip-invalid", lambda: _with("0", local={"extra": 4}))
    add(
        "local: no signature",
        "zip-invalid",
        lambda: archive().replace(b"PK\x03\x04", b"PK\x03\x05"),
    )
    add(
        "local: no signature of one",
        "zip-invalid",
        lambda: _flip(archive(), archive().index(b"PK\x03\x04", 4)),
    )
    add("local: sizes differ", "zip-ambiguous", lambda: _undescribed(size=15))
    add("local: checksum differs", "zip-ambiguous", lambda: _undescribed(crc=15))
    add("descriptor missing", "zip-ambiguous", lambda: _with("0", tail=b""))
    add(
        "descriptor of another size",
        "zip-ambiguous",
        lambda: _with("0", tail=b"PK\x07\x08" + bytes(12)),
    )
    add("descriptor without signature", "zip-ambiguous", lambda: _with("0", tail=bytes(16)))


def _undescribed(**local: int) -> bytes:
    entries = records(descriptor=False)
    entries["0"].local = local
    return pack(list(entries.values()))


def _directories(add: Add) -> None:
    """The directory that all records lie in."""
    add("two directories", "zip-ambiguous", lambda: archive(extra=Entry("other/data.pkl", ROOT)))
    add("record outside", "zip-ambiguous", lambda: archive(extra=Entry("data.pkl", ROOT)))
    add("record above", "zip-ambiguous", lambda: archive(extra=Entry("archive/../data.pkl", ROOT)))
    add("absolute record", "zip-ambiguous", lambda: archive(extra=Entry("/archive/x", b"")))
    add("backslashes", "zip-ambiguous", lambda: archive(extra=Entry("archive\\x", b"")))
    add(
        "a plain zip",
        "zip-ambiguous",
        lambda: pack([Entry("readme.txt", b"hello"), Entry("weights.bin", b"x")]),
    )
    add("no pickle", "zip-invalid", lambda: archive(**{"data.pkl": None}))
    add(
        "TorchScript",
        "zip-invalid",
        lambda: archive(constants=Entry("archive/constants.pkl", b"\x80\x02).")),
    )
    add(
        "TorchScript code",
        "zip-invalid",
        lambda: archive(code=Entry("archive/code/__torch__.py", b"")),
    )


def _marks(add: Add) -> None:
    """Byte order, version, checksums."""
    add("big-endian", "zip-invalid", lambda: archive(byteorder=Entry("archive/byteorder", b"big")))
    add(
        "no such byte order",
        "zip-invalid",
        lambda: archive(byteorder=Entry("archive/byteorder", b"l" * 100)),
    )
    add("future version", "zip-invalid", lambda: archive(version=Entry("archive/version", b"11\n")))
    add("version 0", "zip-invalid", lambda: archive(version=Entry("archive/version", b"0\n")))
    add(
        "version of letters",
        "zip-invalid",
        lambda: archive(version=Entry("archive/version", b"three")),
    )
    add("empty version", "zip-invalid", lambda: archive(version=Entry("archive/version", b"")))
    add("no version", "zip-invalid", lambda: archive(version=None))
    add(
        "damaged pickle",
        "zip-crc-mismatch",
        lambda: archive().replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_v1"),
    )
    add("damaged version", "zip-crc-mismatch", lambda: archive().replace(b"3\n", b"4\n"))
    add("no checksums", "zip-crc-absent", _without_checksums, "warning")


def _without_checksums() -> bytes:
    entries = list(records().values())
    for entry in entries:
        size = len(entry.data)
        entry.central, entry.tail = {"crc": 0}, b"PK\x07\x08" + struct.pack("<III", 0, size, size)
    return pack(entries)


def _storages(add: Add) -> None:
    """Records of storages."""
    add("no storage", "zip-invalid", lambda: archive(**{"0": None}))
    add(
        "storage too short",
        "tensor-size-mismatch",
        lambda: archive(**{"0": Entry("archive/data/0", _W[:-4])}),
    )
    add(
        "storage too long",
        "tensor-size-mismatch",
        lambda: archive(**{"0": Entry("archive/data/0", _W + _W)}),
    )
    add(
        "storage empty",
        "tensor-size-mismatch",
        lambda: archive(**{"0": Entry("archive/data/0", b"")}),
    )
    add(
        "key that leads away",
        "zip-invalid",
        lambda: archive(_tensors(tensor(persid(key="../version")))),
    )
    add("key of nothing", "zip-invalid", lambda: archive(_tensors(tensor(persid(key="")))))


def _views(add: Add) -> None:
    """Tensors that are not within their storage, or not what they seem."""
    bad: Mapping[str, bytes] = {
        "shape too large": tensor(shape=(5,)),
        "offset too large": tensor(offset=1),
        "strides too large": tensor(shape=(2, 2), strides=(3, 1)),
        "huge shape": tensor(shape=(2**40, 2**20)),
        "empty, far away": tensor(offset=99, shape=(0,)),
    }
    for name, view in bad.items():
        add(name, "tensor-out-of-bounds", lambda view=view: archive(_tensors(view)))
    malformed: Mapping[str, bytes] = {
        "negative offset": tensor(offset=-1),
        "negative shape": tensor(shape=(-4,)),
        "negative stride": tensor(strides=(-1,)),
        "fewer strides": tensor(shape=(2, 2), strides=(1,)),
        "uncountable": tensor(shape=(0, 2**62, 2**62), strides=(1, 1, 1)),
        "offset of 2^64": tensor(offset=2**64),
        "too many dimensions": tensor(shape=(1,) * 65, strides=(1,) * 65),
        "not a storage": tensor(storage=b"}"),
        "too few arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        "an untyped storage without a type": tensor(
            persid(kind="ctorch.storage\nUntypedStorage\n", numel=16)
        ),
        "not a storage type": tensor(persid(kind="cos\nsystem\n")),
        "negative size": tensor(persid(numel=-1)),
        "six items": tensor(persid(more=b"N")),
        "a module": b"(" + text("module") + b"cm\nNet\n" + text("f") + text("s") + b"tQ",
        "no tuple": b"K\x05Q",
    }
    for name, view in malformed.items():
        add(f"tensor: {name}", "pickle-invalid", lambda view=view: archive(_tensors(view)))
    add(
        "one storage, two sizes",
        "pickle-invalid",
        lambda: archive(_tensors(TENSOR, tensor(persid(numel=3)))),
    )
    double = tensor(persid(kind="ctorch\nDoubleStorage\n", numel=2), shape=(2,))
    add("one storage, two types", "pickle-invalid", lambda: archive(_tensors(TENSOR, double)))
    add("unknown element type", "tensor-dtype-unknown", lambda: archive(_tensors(_third("float3"))))


def _third(dtype: str) -> bytes:
    storage = persid(kind="ctorch.storage\nUntypedStorage\n", numel=16)
    return (
        b"ctorch._utils\n_rebuild_tensor_v3\n("
        + storage
        + b"K\0K\x04\x85K\x01\x85\x89}ctorch\n"
        + dtype.encode()
        + b"\ntR"
    )


def _pickles(add: Add) -> None:
    """Pickles that are none, or hold no state dict."""
    bad: Mapping[str, bytes] = {
        "no STOP": b"\x80\x02}",
        "empty": b"",
        "after STOP": ROOT + b"x",
        "two pickles": ROOT + ROOT,
        "empty stack": b"\x80\x02.",
        "two values": b"\x80\x02}}.",
        "underflow": b"\x80\x02s.",
        "underflow at a mark": b"\x80\x02}(s.",
        "mark left": b"\x80\x02(}.",
        "no mark": b"\x80\x02}u.",
        "memo not filled": b"\x80\x02h\x05.",
        "memo of nothing": b"\x80\x02q\0.",
        "negative memo": b"\x80\x02}p-1\n.",
        "protocol 6": b"\x80\x06}.",
        "unknown opcode": b"\x80\x02\xff.",
        "extension": b"\x80\x02\x82\x01.",
        "out-of-band buffer": b"\x80\x05\x97.",
        "text cut short": b"\x80\x02}X\xff\0\0\0ab.",
        "text of 4 GiB": b"\x80\x02}X\xff\xff\xff\xffab.",
        "text of 2^64 bytes": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
        "text not UTF-8": b"\x80\x02}X\x01\0\0\0\xffNs.",
        "odd items": b"\x80\x02}(NNNu.",
        "key that is a dict": b"\x80\x02}}Ns.",
        "key that is a list": b"\x80\x02}]Ns.",
        "key twice": b"\x80\x02}(" + 2 * (text("w") + TENSOR) + b"u.",
        "items on a list": b"\x80\x02]NNs.",
        "append to a dict": b"\x80\x02}Na.",
        "root a list": b"\x80\x02].",
        "root a number": b"\x80\x02K\x05.",
        "state of a tensor": _tensors(TENSOR + b"(NNNNtb"),
        "state of a dict": b"\x80\x02}}" + text("x") + b"Nsb.",
        "an OrderedDict whose method is replaced": (
            b"\x80\x02ccollections\nOrderedDict\n)R}" + text("items") + b"Nsb."
        ),
        "persistent id of protocol 0": b"\x80\x02P0\n.",
        "integer of a megabyte": b"\x80\x02}K\x01\x8b\0\0\x10\0" + bytes(1 << 20) + b"s.",
        "integer of negative length": b"\x80\x02\x8b\xff\xff\xff\xff.",
        "string without quotes": b"\x80\x02Sabc\n.",
        "attributes that replace the data": _tensors(
            _with_state(b"}" + text("data") + TENSOR + b"s")
        ),
    }
    for name, root in bad.items():
        add(f"pickle: {name}", "pickle-invalid", lambda root=root: archive(root))


def _with_state(state: bytes) -> bytes:
    return b"ctorch._utils\n_rebuild_parameter_with_state\n(" + TENSOR + b"\x89}" + state + b"tR"


CASES = _cases()


def main() -> None:
    """Write the corpus to the directory that is named."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        name = "".join(character if character.isalnum() else "-" for character in case.name)
        (directory / f"{name}{case.suffix}").write_bytes(case.make())


if __name__ == "__main__":
    main()
