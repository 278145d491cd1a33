"""Carry out the opcodes of a pickle: each by the table, the most frequent ones in place.

Torch writes thirty opcodes for each tensor, most of them of a few kinds. Those have no call here;
what they mean is as in `opcodes`, which also has the cases that are wrong.
"""

from __future__ import annotations

from shardctl.formats.limits import MAX_MARKS, MAX_MEMO, MAX_OPCODES, MAX_STACK
from shardctl.formats.pickle.cursor import U32
from shardctl.formats.pickle.keys import KeyRefusedError
from shardctl.formats.pickle.machine import FrameBeginsError, Machine, Unpickled
from shardctl.formats.pickle.opcodes import TABLE

#: Opcodes between two looks at how large everything has become: none makes more than a few values.
_UNWATCHED = 1000
_STOP = ord(".")
_MARK, _LONG_BINPUT, _BINGET, _BININT1 = b"(rhK"
_TUPLE, _TUPLE2, _BINUNICODE = b"t\x86X"
#: What opcodes push that have no argument.
_CONSTANTS: dict[int, object] = {ord("N"): None, 0x88: True, 0x89: False, ord(")"): ()}
#: Bytes of the arguments of those above, without the text of BINUNICODE, at most.
_ARGUMENT_BYTES = 4


class Interpreter(Machine):
    """The machine, and the loop that drives it."""

    def run(self) -> Unpickled:
        """Carry out the opcodes up to STOP. Raises PickleFaultError."""
        for _ in range(0, MAX_OPCODES, _UNWATCHED):
            if self._reaches_stop():
                break
            if (
                len(self._stack) > MAX_STACK
                or len(self._marks) - 1 > MAX_MARKS
                or self.remembered > MAX_MEMO
                or self._weight > self._limit
            ):
                raise self.fault(
                    "the pickle nests deeper, or makes more values, than any checkpoint of its size"
                )
        else:
            raise self.fault("the pickle has more opcodes than any checkpoint's")
        if len(self._stack) != 1 or len(self._marks) != 1:
            raise self.fault(f"STOP with {len(self._stack)} values on the stack instead of one")
        return Unpickled(
            self._stack[0],
            self._at,
            tuple(self._globals),
            self._storages,
            tuple(self._refused),
            tuple(self._allocations.items()),
        )

    def _reaches_stop(self) -> bool:
        """Carry out some opcodes; whether STOP was among them, and the last."""
        try:
            return self._slowly(_UNWATCHED - self._quickly(_UNWATCHED))
        except FrameBeginsError:
            pass
        except IndexError:
            raise self.fault("a value is taken from an empty stack") from None
        except KeyRefusedError as error:
            raise self.fault(str(error)) from None
        except (UnicodeError, ValueError) as error:
            raise self.fault(f"an argument is malformed ({error})") from None
        return False

    def _slowly(self, count: int) -> bool:
        """Carry out so many opcodes by the table; whether STOP was the last."""
        data = self._data
        end = self._frame_end or len(data)
        for _ in range(count):
            at = self._at
            if at >= end:
                end = self.frame_over(at)
            self._at = at + 1
            code = data[at]
            if code == _STOP:
                if self._frame_end not in (0, at + 1):
                    raise self.frame_fault("a frame does not end where the pickle ends")
                return True
            TABLE[code](self)
        return False

    def _quickly(self, count: int) -> int:  # noqa: C901, PLR0912, PLR0915 - without calls
        """Carry out so many opcodes; return how many it were.

        They are fewer where STOP is next, or the end of a frame or of the bytes is near.
        """
        data, stack, marks, memo = self._data, self._stack, self._marks, self._memo
        recalled, far, push, number = self._recalled, self._far, stack.append, U32.unpack_from
        at = self._at
        end = (self._frame_end or self._size) - _ARGUMENT_BYTES
        for done in range(count):
            if at >= end:
                self._at = at
                return done
            code = data[at]
            if code == _LONG_BINPUT:
                place = number(data, at + 1)[0]
                if place == self._filled and not far and len(stack) > marks[-1]:
                    self._filled = place + 1
                    if place in recalled:
                        memo[place] = stack[-1]
                    at += 5
                    continue
            elif code == _BININT1:
                push(data[at + 1])
                at += 2
                continue
            elif code == _BINGET:
                place = data[at + 1]
                if place in memo:
                    push(memo[place])
                    at += 2
                    continue
            elif code == _TUPLE2:
                if len(stack) >= marks[-1] + 2:
                    second = stack.pop()
                    stack[-1] = (stack[-1], second)
                    self._weight += 1
                    at += 1
                    continue
            elif code == _MARK:
                marks.append(len(stack))
                at += 1
                continue
            elif code == _TUPLE:
                if len(marks) > 1:
                    begin = marks.pop()
                    stack[begin:] = (tuple(stack[begin:]),)
                    self._weight += 1
                    at += 1
                    continue
            elif code == _BINUNICODE:
                begin = at + 5
                after = begin + number(data, at + 1)[0]
                if after <= self._size:
                    self._at = at = after
                    push(data[begin:after].decode("utf-8", "surrogatepass"))
                    continue
            elif code in _CONSTANTS:
                push(_CONSTANTS[code])
                at += 1
                continue
            elif code == _STOP:
                self._at = at
                return done
            self._at = at + 1
            TABLE[code](self)
            at = self._at
        self._at = at
        return count
