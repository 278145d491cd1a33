"""The names that a pickle would import, however broken it is.

Unlike the machine this never gives up on what a value is: it goes on as far as opcodes can be
distinguished, also past STOP, and where a name is put together in a way that it does not follow, it
says so.
"""

from __future__ import annotations

import codecs
import contextlib

from shardctl.formats.limits import MAX_NAME
from shardctl.formats.pickle.cursor import I32, U32, U64, Cursor
from shardctl.formats.pickle.values import PickleCutShortError, PickleFaultError

#: What is listed instead of a name that is only known once the pickle is loaded.
COMPUTED = "a name that the pickle computes"
_MAX_NAMES = 10_000
_MAX_PICKLES = 5
_MAX_TEXTS = 1_000_000

#: Bytes of the argument, for opcodes whose argument has a fixed length.
_FIXED = {
    **dict.fromkeys(b".(012NRQbtolades}u])\x81\x85\x86\x87\x88\x89", 0),
    **dict.fromkeys(b"\x8f\x90\x91\x92\x93\x94\x97\x98", 0),
    **dict.fromkeys(b"Khq\x80\x82", 1),
    **dict.fromkeys(b"M\x83", 2),
    **dict.fromkeys(b"Jjr\x84", 4),
    **dict.fromkeys(b"G\x95", 8),
}  # fmt: skip
_LINES = frozenset(b"ILFpgSVPci")
#: The form of the length that comes before the argument.
_COUNTED = {
    **dict.fromkeys(b"XB", U32),
    **dict.fromkeys(b"\x8d\x8e\x96", U64),
    **dict.fromkeys(b"T\x8b", I32),
}
_COUNTED_BY_BYTE = frozenset(b"UC\x8c\x8a")
_TEXTS = frozenset(b"XTU\x8c\x8dSV")
#: Values that an opcode takes from the stack and puts there, for those that are neither 0 and 1 nor
#: listed apart.
_EFFECTS = {
    **dict.fromkeys(b"0", (1, 0)),
    **dict.fromkeys(b"\x85", (1, 1)),
    **dict.fromkeys(b"\x86R\x81", (2, 1)),
    **dict.fromkeys(b"\x87\x92", (3, 1)),
    **dict.fromkeys(b"Q\x97\x98", (1, 1)),
    **dict.fromkeys(b"ab", (1, 0)),
    **dict.fromkeys(b"s", (2, 0)),
    **dict.fromkeys(b".pqr\x94\x80\x95", (0, 0)),
}
#: The opcodes that name what is imported: GLOBAL, INST, STACK_GLOBAL, EXT1 to EXT4.
_NAMING = (b"c", b"i", b"\x93", b"\x82", b"\x83", b"\x84")
#: Opcodes that take what is above the last mark, and how many values they put there.
_TO_MARK = {**dict.fromkeys(b"tldio\x91", 1), **dict.fromkeys(b"1eu\x90", 0)}


def imported_names(data: bytes, start: int = 0) -> tuple[str, ...]:
    """The names in GLOBAL, STACK_GLOBAL, INST and EXT opcodes, each once, in their order."""
    scan = _Scan(data, start)
    with contextlib.suppress(PickleFaultError):  # the end of what are clearly opcodes
        scan.run()
    return tuple(scan.names)


def count_opcodes(data: bytes, *, cut: bool) -> int:
    """How many opcodes the bytes begin with, up to STOP; 0 where something else is among them.

    `cut`: more bytes follow, so the last opcode may be incomplete.
    """
    scan = _Scan(data, 0)
    count = 0
    try:
        while scan.offset + 1 < len(data):
            count += 1
            if scan.step() == ord("."):
                return count
    except PickleCutShortError:
        return count if cut else 0
    except PickleFaultError:
        return 0
    return count if cut else 0


class _Scan(Cursor):
    """A linear walk over opcodes; of the values only texts are kept."""

    def __init__(self, data: bytes, start: int) -> None:
        super().__init__(data, start)
        self.names: dict[str, None] = {}
        self._forget()

    def _forget(self) -> None:
        """Begin a pickle: nothing is on the stack or in the memo."""
        self._stack: list[bytes | None] = []
        self._marks: list[int] = []
        # Only texts are kept. Places are filled one after another, but for the `_far` ones.
        self._memo: dict[int, bytes] = {}
        self._filled = 0
        self._far: set[int] = set()
        self._followed = True

    def run(self) -> None:
        pickles = 0
        # After the last byte that could be such an opcode there is nothing to find.
        last = max(self._data.rfind(code) for code in _NAMING)
        while self._at <= last and pickles < _MAX_PICKLES and len(self.names) < _MAX_NAMES:
            if self.step() == ord("."):
                pickles += 1
                self._forget()

    def step(self) -> int:
        """Read one opcode with its argument, and return its code."""
        code = self.byte()
        self._apply(code, self._argument(code))
        return code

    def _argument(self, code: int) -> bytes:
        if code in _FIXED:
            return self.take(_FIXED[code])
        if code in _LINES:
            return self.line()
        if code in _COUNTED_BY_BYTE:
            return self.take(self.byte())
        if code in _COUNTED:
            length = self.number(_COUNTED[code])
            if length >= 0:
                return self.take(length)
        raise self.fault("not an opcode")

    def _apply(self, code: int, argument: bytes) -> None:
        self._note_name(code, argument)
        stack, marks = self._stack, self._marks
        if code == ord("("):
            marks.append(len(stack))
        elif code == ord("0") and marks and marks[-1] >= len(stack):
            marks.pop()
        elif code in _TO_MARK:
            del stack[marks.pop() if marks else 0 :]
            stack.extend([None] * _TO_MARK[code])
        elif code in b"pqr\x94":
            self._put(self._place(code, argument))
        elif code in b"ghj":
            place = self._place(code, argument)
            stack.append(self._memo.get(place) if self._followed else None)
        elif code == ord("2"):
            stack.append(stack[-1] if stack else None)
        else:
            taken, put = _EFFECTS.get(code, (0, 1))
            del stack[max(len(stack) - taken, 0) :]
            stack.extend([self._text(code, argument)] * put)

    def _note_name(self, code: int, argument: bytes) -> None:
        if code in b"ci":
            self._name(argument, self.line())
        elif code in b"\x82\x83\x84":
            self._name(b"copyreg", b"extension %d" % int.from_bytes(argument, "little"))
        elif code == 0x93:
            name, module = self._pop(), self._pop()
            if name is None or module is None:
                self.names.setdefault(COMPUTED)
            else:
                self._name(module, name)

    def _pop(self) -> bytes | None:
        return self._stack.pop() if self._stack else None

    def _put(self, place: int) -> None:
        """Fill a place.

        Which one MEMOIZE fills depends on how many are filled. Where a pickle spells a place in an
        unusual form, or leaves out very many, what it recalls is not known any more.
        """
        value = self._stack[-1] if self._stack else None
        if place == self._filled:
            self._filled += 1
            self._far.discard(place)
        elif place > self._filled and len(self._far) < _MAX_TEXTS:
            self._far.add(place)
        elif not 0 <= place < self._filled:
            self._followed = False
        if value is not None and len(self._memo) < _MAX_TEXTS:
            self._memo[place] = value
        else:
            self._memo.pop(place, None)

    def _place(self, code: int, argument: bytes) -> int:
        if code == 0x94:
            return self._filled + len(self._far)
        if code not in b"pg":
            return int.from_bytes(argument, "little")
        return int(argument) if len(argument) < 20 and argument.isdigit() else -1

    def _text(self, code: int, argument: bytes) -> bytes | None:
        if code not in _TEXTS:
            return None
        with contextlib.suppress(ValueError):  # an unpickler fails at such a text
            if code == ord("S"):
                return codecs.escape_decode(argument[1:-1])[0]
            if code == ord("V"):
                return argument.decode("raw-unicode-escape").encode("utf-8", "surrogatepass")
        return argument

    def _name(self, module: bytes, name: bytes) -> None:
        full = module[:MAX_NAME] + b"." + name[:MAX_NAME]
        self.names.setdefault(full.decode("utf-8", "backslashreplace"))
