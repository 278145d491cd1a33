"""Whether a file begins like a pickle.

`torch.load` runs any such file that is not a zip, whatever it holds.
"""

from __future__ import annotations

from shardctl.formats.pickle.scan import count_opcodes

#: torch's magic number as protocols 0 and 1 write it, and as the others do: LONG1, ten bytes.
MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_TEXT = b"L%dL\n." % MAGIC
_MAGIC_BYTES = b"\x8a\n" + MAGIC.to_bytes(10, "little")
_HEAD_BYTES = 64
_PROTOCOLS = range(2, 6)
_TAR_BYTES, _CHECKSUM = 512, slice(148, 156)


def has_magic(head: bytes) -> bool:
    """Whether a file begins with the pickle of torch's magic number."""
    # From protocol 4 on, the length of a frame comes before it.
    return head.startswith(_MAGIC_TEXT) or _MAGIC_BYTES in head[:32]


def looks_like_pickle(head: bytes, tail: bytes) -> bool:
    """Whether a file that begins and ends so is a pickle; up to 64 bytes of each end."""
    if has_magic(head):
        return True
    if head[:1] == b"\x80" and len(head) > 2:
        # Protocol 2 or newer. A length of 128 bytes as safetensors writes it has zeros there.
        return head[1] in _PROTOCOLS and head[2] != 0
    # Older protocols begin with no mark: the head must be opcodes, and STOP the last byte.
    return tail.endswith(b".") and count_opcodes(head, cut=len(head) >= _HEAD_BYTES) >= 2


def is_tar_header(head: bytes) -> bool:
    """Whether the first 512 bytes have the checksum of a tar header.

    Torch looks for that before it unpickles.
    """
    block = head[:_TAR_BYTES]
    if len(block) < _TAR_BYTES:
        return False
    field = block[_CHECKSUM].split(b"\0", 1)[0].strip()
    if not field or any(digit not in b"01234567" for digit in field):
        return False
    rest = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    signed = sum(byte - 256 if byte > 127 else byte for byte in rest)
    return int(field, 8) in (sum(rest), signed)
