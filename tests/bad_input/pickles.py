"""Pickles that are not the dictionary of float32 arrays that the archive of weights holds."""

import pickle
import struct

import numpy as np


class Harmful:
    def __reduce__(self):
        return (print, ("a pickle ran code",))


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def number(value):
    return b"J" + struct.pack("<i", value)


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85C\x01b\x87R"
ONES = np.ones(4, "<f4").tobytes()


def dtype(kind=b"f4", order=b"<", flags=0):
    state = tuple_of(number(3), text(order), b"NNN", number(-1), number(-1), number(flags))
    return b"cnumpy\ndtype\n" + text(kind) + b"\x89\x88\x87R" + state + b"b"


def array(shape=(1, 1, 2, 2), kind=None, version=1, fortran=b"\x89", content=ONES):
    sizes = tuple_of(*map(number, shape))
    stored = b"B" + struct.pack("<I", len(content)) + content
    return EMPTY + tuple_of(number(version), sizes, kind or dtype(), fortran, stored) + b"b"


def holding(value):
    """A pickle of a dict with one value, as the archive's opcodes write it."""
    return b"\x80\x03}" + text(b"AlexNet_0") + value + b"s."


def layers(kernel=None, bias=None):
    convolution = b"}(" + text(b"kernel") + (kernel or array()) + text(b"bias") + (bias or array((4,))) + b"u"
    return holding(b"}(" + b"".join(text(b"Conv_%d" % index) + convolution for index in range(5)) + b"u")


DOUBLED = b"K\x00" + b"q\x00(h\x00h\x00t" * 100 + b"q\x00"  # a tuple whose hash takes 2 ** 100 steps
ARRAYS, CALLS, STATES = "an array is not float32, or its shape", "it calls something other", "it sets the state of"
PICKLES = {
    "an array of objects": (layers(array(kind=dtype(b"O8", b"|", 63))), CALLS),
    "float64": (layers(array(kind=dtype(b"f8"))), CALLS),
    "big-endian": (layers(array(kind=dtype(order=b">"))), STATES),
    "flags of objects": (layers(array(kind=dtype(flags=63))), STATES),
    "a dtype that is text": (layers(array(kind=text(b"f4"))), ARRAYS),
    "a huge shape": (layers(array((2**31 - 1,) * 4)), ARRAYS),
    "a shape of 64-bit zero": (layers(array((2**30, 2**30, 16, 1))), ARRAYS),
    "a negative shape": (layers(array((-2, -2))), ARRAYS),
    "too many dimensions": (layers(array((1,) * 60 + (4,))), ARRAYS),
    "a shape of text": (layers(EMPTY + tuple_of(number(1), text(b"ab"), dtype(), b"\x89C\x04aaaa") + b"b"), ARRAYS),
    "too few bytes": (layers(array(content=ONES[:-1])), ARRAYS),
    "Fortran order": (layers(array(fortran=b"\x88")), ARRAYS),
    "another version": (layers(array(version=0)), ARRAYS),
    "an array that is never filled": (layers(EMPTY), "a dict has keys other than text, or values other than"),
    "a state that is a dict": (layers(EMPTY + b"}b"), ARRAYS),
    "the state of a dict": (layers(b"}}b"), STATES),
    "the state of a function": (holding(b"cnumpy\ndtype\n}b"), STATES),
    "another name": (pickle.dumps({"AlexNet_0": Harmful()}, protocol=3), "'builtins.print' is not allowed in a file"),
    "another name of NumPy": (layers(b"cnumpy\nfromfile\n"), "'numpy.fromfile' is not allowed in a file of weights"),
    "protocol 4": (pickle.dumps({"AlexNet_0": Harmful()}, protocol=4), "FRAME is not an opcode of arrays"),
    "a name on the stack": (holding(text(b"os") + text(b"getcwd") + b"\x93"), "STACK_GLOBAL is not an opcode"),
    "a new object": (holding(b"cnumpy\nndarray\n" + tuple_of() + b"\x81"), "NEWOBJ is not an opcode"),
    "an instance": (holding(b"(inumpy\nndarray\n"), "INST is not an opcode"),
    "a persistent object": (holding(b"Pa\n"), "PERSID is not an opcode"),
    "a persistent object of the stack": (holding(b"NQ"), "BINPERSID is not an opcode"),
    "an extension": (holding(b"\x82\x01"), "EXT1 is not an opcode"),
    "a buffer": (holding(b"\x97"), "NEXT_BUFFER is not an opcode"),
    "a list": (holding(b"]"), "EMPTY_LIST is not an opcode"),
    "an index of 2 ** 31": (holding(b"}r\xff\xff\xff\x7f"), "LONG_BINPUT is not an opcode"),
    "2 ** 62 bytes": (holding(b"\x8e" + struct.pack("<Q", 2**62)), "it is damaged"),
    "a key with a hash of 2 ** 100 steps": (b"\x80\x03" + DOUBLED + b"}h\x00}s.", "a dict has keys other than text"),
    "a dict in itself": (b"\x80\x03}q\x00" + text(b"AlexNet_0") + b"h\x00s.", "its arrays have other names or shapes"),
    "a kernel of two dimensions": (layers(array((2, 2))), "its arrays have other names or shapes"),
    "a bias that is a dict": (layers(bias=b"}"), "its arrays have other names or shapes"),
    "items of text": (b"\x80\x03" + text(b"a") + b"}}s.", "it sets items of something other than a dict"),
    "an empty stack": (b"\x80\x03R.", "it is damaged"),
    "a missing mark": (b"\x80\x03}u.", "it is damaged"),
    "an unknown index": (holding(b"h\x07"), "it is damaged"),
    "no end": (layers()[:-1], "it is damaged"),
    "nothing": (b"", "it is damaged"),
    "text": (b"hello", "it is damaged|is not an opcode"),
}
