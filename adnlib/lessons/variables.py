"""Which variables of the notebook a reader's answer reads."""

import dis
import inspect
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any


def variables_of(answer: Callable) -> list[tuple[str, Any]]:
    """The global variables that an answer reads, with their values."""
    if not inspect.isfunction(answer):
        return []
    names = [i.argval for i in _instructions(answer.__code__) if i.opname == "LOAD_GLOBAL"]
    return [(name, answer.__globals__[name]) for name in names if name in answer.__globals__]


def about_variables(answer: Callable) -> str:
    """A sentence about a number, a list or an object of the notebook that a wrong answer reads, "" if there is none.
    Functions, modules and names in capitals, which are constants, do not count."""
    names = [n for n, v in variables_of(answer) if not (n.isupper() or callable(v) or isinstance(v, ModuleType))]
    return f" It also reads the notebook's variable {names[0]}: is an argument meant?" if names else ""


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """The instructions of a function and of the functions inside it."""
    yield from dis.get_instructions(code)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _instructions(inner)
