"""The limits on what a hostile file can cost, each with its reason.

All are far above what real checkpoints have. Bytes, unless a comment says otherwise.
"""

from __future__ import annotations

#: Upstream's own limit for the header, in bytes; longer ones are refused by every reader.
MAX_HEADER_BYTES = 100_000_000
#: What is read of longer ones, to write sound files of them: a million tensors have 130 MB.
MAX_READ_HEADER_BYTES = 256 * 1024 * 1024
#: Larger files are not read as an index; the largest known one has 17 MB.
MAX_INDEX_BYTES = 256 * 1024 * 1024
#: A configuration is only looked at for what it is of; larger ones are those of huge label maps.
MAX_CONFIG_BYTES = 1024 * 1024
#: JSON that holds nothing large may have this many lists, objects, members and values; beyond that
#: they are counted against its length (below).
FEW_JSON_VALUES = 4_096
#: The characters of a header for each list or object, each member of an object, and each value, at
#: least. The shortest entry of a tensor has 51 for its three lists and objects and four members.
#: Denser JSON takes 25 to 90 times its length in memory.
HEADER_PER_CONTAINER, HEADER_PER_MEMBER, HEADER_PER_VALUE = 16, 12, 4
#: The characters of an index for each of these; an entry names a tensor and a shard.
INDEX_PER_VALUE = 16
#: Levels of JSON within a field that nothing reads: serde_json, the parser of safetensors, takes no
#: more.
MAX_JSON_DEPTH = 125
#: A million records have about 100 MB of directory.
MAX_DIRECTORY_BYTES = 256 * 1024 * 1024
#: The pickle of a million tensors has about 150 MB; nothing real is larger. Texts and bytes in it
#: need no further limit: they cannot be longer than the pickle, whatever length they claim.
MAX_PICKLE_BYTES = 512 * 1024 * 1024
#: Integers beyond the size of any number in a checkpoint only cost time; torch's magic number has
#: 10 bytes.
MAX_INTEGER_BYTES = 64
#: A real pickle nests a handful of levels, and stacks a thousand items at a time, or the numbers of
#: one tuple; so many open marks or stacked values only a hostile one needs.
MAX_MARKS, MAX_STACK = 1_000, 4_000_000
#: What torch writes for a million tensors has 40 million opcodes and 9 million memo places.
MAX_OPCODES, MAX_MEMO = 100_000_000, 16_000_000
#: What the values of a pickle of some bytes may weigh. An opcode of one byte can make a dict of a
#: hundred, so the weight is bound to the length: a dict, a list or a number as a key weighs 4, any
#: other value 1, and the pickle may weigh a quarter of its bytes (a container for every 16), or
#: MIN_WEIGHT (some 30 MB of memory). A tensor weighs 10, and takes more than 40 bytes.
CONTAINER_WEIGHT, KEY_WEIGHT, MIN_WEIGHT, BYTES_PER_WEIGHT = 4, 4, 500_000, 4
#: The same for the metadata of a distributed checkpoint, which is small objects and nothing else: a
#: slice weighs 37, and takes 143 bytes of torch's, 89 of ours.
BYTES_PER_WEIGHT_OF_SLICES = 2
#: Entries of the tree of names that a pickle of some bytes may give: one for every 16, or
#: MIN_ENTRIES. A key and a value take more, but one list can be used again and again.
MIN_ENTRIES, BYTES_PER_ENTRY = 100_000, 16
#: Characters of a name to import, and values in a tuple that is a dict's key. Both could be
#: recalled from the memo and put together again and again, at a cost that has nothing to do with
#: the pickle's length.
MAX_NAME, MAX_KEY_PARTS = 1_000, 64
#: No tensor library has so many dimensions, and no memory so many elements.
MAX_DIMS, MAX_SIZE = 64, 2**63 - 1
#: A tensor's lazy flags are two.
MAX_FLAGS = 8
#: Entries of dictionaries that were unfolded before: a shared dict in a shared dict, and so on,
#: would unfold to more than any memory.
MAX_REPEATED = 100_000
#: Characters of all full names together, for each byte of the pickle, or in a small pickle: one
#: huge key above a million others would be written out a million times.
NAME_CHARACTERS_PER_BYTE, MIN_NAME_CHARACTERS = 8, 1_000_000
#: Levels of dictionaries in dictionaries; training checkpoints have five or so.
MAX_DEPTH = 64
#: Bytes of one file of a run's journal; that of a million tensors in 10,000 files has 10 MB.
MAX_JOURNAL_BYTES = 64 * 1024 * 1024
#: Bytes of a plan file; one that names a million tensors has 80 MB.
MAX_PLAN_BYTES = 256 * 1024 * 1024
#: Bytes of a `SHA256SUMS`; 100,000 files have 10 MB.
MAX_CHECKSUMS_BYTES = 16 * 1024 * 1024


def weight_limit(nbytes: int, bytes_per_weight: int = BYTES_PER_WEIGHT) -> int:
    """What the values of a pickle of `nbytes` may weigh."""
    return max(MIN_WEIGHT, nbytes // bytes_per_weight)
