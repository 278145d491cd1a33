"""Pickles made to run code or to use up time and memory, opcode by opcode. None is ever given to a
real unpickler.

Whatever would run code writes to the canary: a file whose absence proves that nothing ran.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

CANARY = Path(tempfile.gettempdir()) / "shardctl-canary-of-the-corpus"


def text(value: str) -> bytes:
    """A string."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """An integer of any size."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(values: tuple[int, ...]) -> bytes:
    """A tuple of integers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def persid(
    key: str = "0", numel: int = 4, kind: str = "ctorch\nFloatStorage\n", more: bytes = b""
) -> bytes:
    """A storage."""
    return (
        b"("
        + text("storage")
        + kind.encode()
        + text(key)
        + text("cpu")
        + number(numel)
        + more
        + b"tQ"
    )


def tensor(
    storage: bytes | None = None,
    *,
    offset: int = 0,
    shape: tuple[int, ...] = (4,),
    strides: tuple[int, ...] | None = None,
    flags: bytes = b"",
) -> bytes:
    """A tensor; contiguous strides unless told otherwise."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= max(size, 1)
    where = (
        number(offset)
        + numbers(shape)
        + numbers(tuple(reversed(steps)) if strides is None else strides)
    )
    held = persid() if storage is None else storage
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + held + where + b"\x89}" + flags + b"tR"


TENSOR = tensor()
_SHELL = text(f"touch {CANARY}")
_CODE = text(f"open({str(CANARY)!r}, 'w')")


def _beside(value: bytes) -> bytes:
    """A state dict that holds the value beside a sound tensor."""
    return b"\x80\x04}(" + text("w") + TENSOR + text("x") + value + b"u."


def _root(value: bytes) -> bytes:
    """Return a pickle whose root is the value."""
    return b"\x80\x02" + value + b"."


def _call(name: str, *arguments: bytes) -> bytes:
    return f"c{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


_CALLS: Mapping[str, bytes] = {
    "os.system": _call("os\nsystem", _SHELL),
    "posix.system": _call("posix\nsystem", _SHELL),
    "nt.system": _call("nt\nsystem", _SHELL),
    "builtins.eval": _call("builtins\neval", _CODE),
    "builtins.exec": _call("builtins\nexec", _CODE),
    "__builtin__.eval": _call("__builtin__\neval", _CODE),
    "builtins.open": _call("builtins\nopen", text(str(CANARY)), text("w")),
    "builtins.getattr": _call("builtins\ngetattr", b"cos\nsystem\n", text("__call__")),
    "builtins.__import__": _call("builtins\n__import__", text("os")),
    "builtins.compile": _call("builtins\ncompile", _CODE, text("x"), text("exec")),
    "subprocess.Popen": _call("subprocess\nPopen", _SHELL),
    "subprocess.check_output": _call("subprocess\ncheck_output", _SHELL),
    "runpy.run_path": _call("runpy\nrun_path", text(str(CANARY))),
    "runpy._run_code": _call("runpy\n_run_code", _CODE, b"}"),
    "torch.hub.load": _call("torch.hub\nload", text("a/b"), text("c")),
    "torch.load": _call("torch\nload", text("other.bin")),
    "torch.serialization.load": _call("torch.serialization\nload", text("other.bin")),
    "torch.jit.load": _call("torch.jit\nload", text("other.pt")),
    "torch.utils.collect_env.run": _call("torch.utils.collect_env\nrun", _SHELL),
    "torch.distributed.rpc": _call(
        "torch.distributed.rpc.internal\n_run_function", b"cos\nsystem\n", _SHELL
    ),
    "torch.storage._load_from_bytes": _call("torch.storage\n_load_from_bytes", b"C\x03abc"),
    "torch._inductor": _call(
        "torch._inductor.codecache\ncompile_file", text("x"), text("y"), text("z")
    ),
    "numpy.testing.runstring": _call("numpy.testing._private.utils\nrunstring", _CODE, b"}"),
    "numpy.load": _call("numpy\nload", text("x.npy")),
    "numpy.f2py": _call("numpy.f2py.crackfortran\ngetlincoef", _CODE, b"}"),
    "pickle.loads": _call("pickle\nloads", b"C\x03abc"),
    "_pickle.loads": _call("_pickle\nloads", b"C\x03abc"),
    "dill.loads": _call("dill._dill\nloads", b"C\x03abc"),
    "marshal.loads": _call("marshal\nloads", b"C\x03abc"),
    "importlib.import_module": _call("importlib\nimport_module", text("os")),
    "pip.main": _call("pip\nmain", b"]"),
    "pty.spawn": _call("pty\nspawn", _SHELL),
    "socket.create_connection": _call("socket\ncreate_connection", text("localhost"), b"K\x50"),
    "shutil.rmtree": _call("shutil\nrmtree", text(str(CANARY))),
    "pydoc.pipepager": _call("pydoc\npipepager", text("x"), _SHELL),
    "timeit.timeit": _call("timeit\ntimeit", _CODE),
    "code.interact": _call("code\nInteractiveInterpreter"),
    "cProfile.run": _call("cProfile\nrun", _CODE),
    "operator.attrgetter": _call("operator\nattrgetter", text("system")),
    "functools.partial": _call("functools\npartial", b"cos\nsystem\n", _SHELL),
    "types.FunctionType": _call("types\nFunctionType", b"N", b"}"),
    "a dotted name": _call("torch\n_utils.os.system", _SHELL),
    "shardctl itself": _call("shardctl.formats.torch.unpickle\nunpickle", b"C\x01."),
    "nested calls": _call(
        "builtins\neval",
        _call("builtins\ngetattr", _call("builtins\n__import__", text("os")), _SHELL),
    ),
    "a call of what a call gives": _call("builtins\ngetattr", b"cos\n_\n", _SHELL)
    + b"("
    + _SHELL
    + b"tR",
    "a long chain of calls": b"cos\nsystem\n" + b")R" * 50_000,
    "INST": b"(" + _SHELL + b"ios\nsystem\n",
    "OBJ": b"(cos\nsystem\n" + _SHELL + b"o",
    "NEWOBJ": b"cos\nsystem\n(" + _SHELL + b"t\x81",
    "NEWOBJ_EX": b"cos\nsystem\n(" + _SHELL + b"t}\x92",
    "STACK_GLOBAL": text("os") + text("system") + b"\x93(" + _SHELL + b"tR",
    "BUILD with a state": b"cm\nEvil\n)\x81}"
    + text("__setstate__")
    + b"cos\nsystem\n"
    + b"s"
    + b"b",
    "BUILD of slots": b"cm\nEvil\n)\x81N}" + text("a") + b"Ns\x86b",
    "items of an object": b"cm\nEvil\n)R" + text("k") + _SHELL + b"s",
    "values appended to an object": b"cm\nEvil\n)R" + _SHELL + b"a",
    "a memo of bytearray(1<<30)": _call("builtins\nbytearray", number(1 << 30)),
    "FloatTensor(2**28)": _call("torch\nFloatTensor", number(2**28)),
    "torch.Tensor of a terabyte": _call("torch\nTensor", number(2**40)),
    "a range of 2^62": _call("builtins\nrange", number(2**62)),
    "a complex power": _call("builtins\npow", number(10), number(10**9)),
    "codecs.encode": _call("_codecs\nencode", text("x" * 1000), text("latin1")),
    "a tensor subclass": b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\ncm\nEvil\n)}tR",
    "a call in a tensor with attributes": b"ctorch._tensor\n_rebuild_from_type_v2\n"
    b"(cos\nsystem\nctorch\nTensor\n(" + _SHELL + b"t}tR",
}


def _laughs() -> bytes:
    """Dictionaries that each hold the one before twice, 60 deep."""
    parts = [b"\x80\x02}q\0" + text("w") + TENSOR + b"s"]
    for level in range(60):
        below = b"h" + bytes([level])
        parts += [b"0}(", text("a"), below, text("b"), below, b"uq", bytes([level + 1])]
    return b"".join(parts) + b"."


def _laughing_lists() -> bytes:
    """Lists that each hold the one before ten times, with a tensor at the bottom."""
    parts = [b"\x80\x02](" + TENSOR + b"eq\0"]
    parts += [
        b"0](" + 10 * (b"h" + bytes([level])) + b"eq" + bytes([level + 1]) for level in range(50)
    ]
    return b"".join(parts) + b"0}" + text("x") + b"h\x32s."


def _wide_laughs() -> bytes:
    """One dict of a thousand entries under a thousand names under a thousand names."""
    inner = (
        b"}(" + b"".join(b"M" + struct.pack("<H", n) + b"N" for n in range(1000)) + b"uq\1" + b"0"
    )
    middle = (
        b"}(" + b"".join(b"M" + struct.pack("<H", n) + b"h\1" for n in range(1000)) + b"uq\2" + b"0"
    )
    outer = b"}(" + b"".join(b"M" + struct.pack("<H", n) + b"h\2" for n in range(1000)) + b"u."
    return b"\x80\x02" + inner + middle + outer


def _long_keys() -> bytes:
    """A dict of many entries below a key of a megabyte."""
    inner = b"}(" + b"".join(b"M" + struct.pack("<H", n) + b"N" for n in range(60_000)) + b"u"
    return b"\x80\x02}" + text("k" * 1_000_000) + inner + b"s."


def _pairs_again() -> bytes:
    """One long list of pairs that a thousand OrderedDicts are made of."""
    pairs = (
        b"](" + b"".join(b"M" + struct.pack("<H", n) + b"N\x86" for n in range(60_000)) + b"eq\1"
    )
    return (
        b"\x80\x02ccollections\nOrderedDict\nq\0" + pairs + b"0" + b"h\0h\1\x85R0" * 1000 + b"0}."
    )


def _long_names() -> bytes:
    """A name of a megabyte, imported again and again."""
    return b"\x80\x04" + text("n" * 1_000_000) + b"q\0" + b"h\0h\0\x930" * 20_000 + b"0}."


def _colliding_keys() -> bytes:
    """Numbers whose hashes are all equal."""
    prime = 2**61 - 1
    return b"\x80\x02}(" + b"".join(number(prime * n) + b"N" for n in range(1, 30_000)) + b"u."


def _colliding_tuples() -> bytes:
    """Tuples of -1 and -2, whose hashes are all equal."""
    ones, twos = b"J" + struct.pack("<i", -1), b"J" + struct.pack("<i", -2)
    keys = (
        b"(" + b"".join(twos if n >> bit & 1 else ones for bit in range(13)) + b"t"
        for n in range(2**13)
    )
    return b"\x80\x02}(" + b"".join(key + b"N" for key in keys) + b"u."


def _long_tuple_keys() -> bytes:
    """One long tuple, hashed as the key of dictionary after dictionary."""
    return b"\x80\x02(" + b"K\1" * 200_000 + b"tq\0" + b"0" + b"}h\0Ns0" * 10_000 + b"}."


def _nested_types() -> bytes:
    """Tensors with attributes, made of tensors with attributes, and so on."""
    name = b"ctorch._tensor\n_rebuild_from_type_v2\nq\0ctorch\nTensor\nq\1"
    inner = b")"
    return b"\x80\x02" + name + b"00h\0" + b"(h\0h\1" * 900 + inner + b"}t" * 900 + b"R."


_FLAT: Mapping[str, Callable[[], bytes]] = {
    "billion laughs": _laughs,
    "a billion entries": _wide_laughs,
    "megabytes of names": _long_keys,
    "pairs used again": _pairs_again,
    "names of a megabyte": _long_names,
    "tuples of a megabyte as keys": _long_tuple_keys,
    "nested types": _nested_types,
    "dict that holds itself": lambda: b"\x80\x02}q\0" + text("x") + b"h\0s.",
    "dicts that hold each other": lambda: (
        b"\x80\x02}q\0}q\1" + text("a") + b"h\0s" + b"0" + text("b") + b"h\1s."
    ),
    "list that holds itself and a tensor": lambda: _beside(b"]q\x09(h\x09" + TENSOR + b"e"),
    "billion laughs in lists": _laughing_lists,
    "100,000 marks": lambda: b"\x80\x02" + b"(" * 100_000 + b".",
    "100,000 dicts in dicts": lambda: (
        b"\x80\x02" + (b"}" + text("a")) * 100_000 + b"N" + b"s" * 100_000 + b"."
    ),
    "100,000 lists in lists": lambda: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "100,000 tuples in tuples": lambda: b"\x80\x02)" + b"\x85" * 100_000 + b".",
    "LONG4 of 2 GiB": lambda: b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "digits": lambda: b"\x80\x02I" + b"9" * 1_000_000 + b"\n.",
    "long digits": lambda: b"\x80\x02L" + b"9" * 1_000_000 + b"L\n.",
    "memo place of many digits": lambda: b"\x80\x02}p" + b"9" * 1_000_000 + b"\n.",
    "bytes of 2^63": lambda: b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
    "bytearray of 2^63": lambda: b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f.",
    "attributes that are an object": lambda: _beside(
        b"ctorch._utils\n_rebuild_parameter_with_state\n("
        + TENSOR
        + b"\x89}"
        + _CALLS["os.system"]
        + b"tR"
    ),
}

_HARMLESS: Mapping[str, Callable[[], bytes]] = {
    "tuples nested beside a tensor": lambda: _beside(b")" + b"\x85" * 60),
    "list that holds itself": lambda: _beside(b"]q\x09h\x09a"),
    "keys whose hashes collide": _colliding_keys,
    "tuples whose hashes collide": _colliding_tuples,
    "memo far away": lambda: b"\x80\x02}r\xff\xff\xff\xff.",
    "a stack of a million": lambda: b"\x80\x02}" + b"N" * 1_000_000 + b"0" * 1_000_000 + b".",
    "a memo of 100,000": lambda: b"\x80\x04}" + b"\x94" * 100_000 + b".",
}

#: By name: the finding that reading must give (None: the value is inert and all else is read), and
#: the pickle.
HOSTILE: Mapping[str, tuple[str | None, Callable[[], bytes]]] = {
    **{f"hostile: {name}": (None, partial(_beside, value)) for name, value in _CALLS.items()},
    **{f"hostile root: {name}": ("pickle-unsafe", partial(_root, value))
       for name, value in list(_CALLS.items())[:8]},
    **{f"bomb: {name}": ("pickle-invalid", make) for name, make in _FLAT.items()},
    **{f"odd: {name}": (None, make) for name, make in _HARMLESS.items()},
}  # fmt: skip
