"""Exercises that check themselves: the check of an answer, and the stub and the folded solution made from one source.

In a lesson `f = lesson.check_f(f)` says what is right or wrong with the reader's `f`; where nothing was written yet it
says so and hands back the solution, so that the lesson can be read and run from top to bottom first.
"""

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
from torch import Tensor

from adnlib.errors import AdnError

BEGIN, END = "# >>> yours", "# <<<"  # in a solution: the lines that the reader writes; without marks, the whole body


class Mistake(AssertionError):
    """What is wrong with an answer, in one or two sentences for the person who wrote it."""

    def _render_traceback_(self) -> list[str]:  # IPython shows this in place of a traceback
        return [f"Not yet. {self}"]


def expect(condition: object, message: str) -> None:
    """Raises Mistake(message) unless the condition holds."""
    if not condition:
        raise Mistake(message)


def check(solution: Callable) -> Callable:
    """Makes a check of an exercise from a function that takes the reader's answer and calls `expect`.

    The check prints one line and returns the answer; after an untouched stub, the solution. A wrong answer raises
    Mistake; an answer that stops with an error of its own is told which.
    """

    def decorate(examine: Callable[[Callable], None]) -> Callable:
        @functools.wraps(examine)
        def checked(answer: Callable) -> Callable:
            name = solution.__name__
            try:
                examine(_watched(answer) if inspect.isfunction(answer) else answer)
            except Mistake:
                raise
            except Exception as error:
                if isinstance(error, NotImplementedError) and str(error) == _untouched(name):
                    print(f"{name}: not written yet. The lesson goes on with the solution.")
                    return solution
                raise Mistake(f"{name} stops with {type(error).__name__}: {error}") from error
            print(f"{name}: correct.")
            return answer

        checked.solution = solution
        return checked

    return decorate


def _untouched(name: str) -> str:
    """What a stub says that nobody has written in; torch has NotImplementedErrors of its own."""
    return f"{name} is yours to write"


def _watched(answer: Callable) -> Callable:
    """The answer, but Mistake where it changes one of its inputs: what a check compares with would change too."""

    @functools.wraps(answer)
    def watched(*given, **named):
        before = [(x, _copy(x)) for x in (*given, *named.values()) if isinstance(x, (np.ndarray, Tensor))]
        result = answer(*given, **named)
        expect(
            all(np.array_equal(_copy(x), was, equal_nan=True) for x, was in before),
            f"{answer.__name__} changes its input: make something new, x = x * 2 and not x *= 2.",
        )
        return result

    return watched


def _copy(x: np.ndarray | Tensor) -> np.ndarray:
    return x.detach().cpu().numpy().copy() if isinstance(x, Tensor) else x.copy()


def exercises(lesson) -> dict[str, Callable]:
    """The checks of a lesson's module by the name of their exercise, in the order of the file."""
    return {c.solution.__name__: c for c in vars(lesson).values() if hasattr(c, "solution")}


def solution_source(solution: Callable) -> str:
    """The solution as a reader should see it: without the marks."""
    lines = textwrap.dedent(inspect.getsource(solution)).splitlines()
    return "\n".join(line for line in lines if line.strip() not in (BEGIN, END))


def stub_source(solution: Callable) -> str:
    """The solution with the reader's part replaced by a NotImplementedError that says so."""
    source = textwrap.dedent(inspect.getsource(solution)).rstrip()
    stop = f'raise NotImplementedError("{_untouched(solution.__name__)}")'
    if BEGIN in source:
        return re.sub(rf"( *){BEGIN}\n.*?{END}", rf"\g<1>{stop}", source, flags=re.DOTALL)
    definition = ast.parse(source).body[0]
    if not ast.get_docstring(definition) or len(definition.body) < 2:
        raise AdnError(f"The solution {solution.__name__} needs a docstring and a body: the stub is made of them.")
    kept = source.splitlines()[: definition.body[0].end_lineno]
    return "\n".join([*kept, f"    {stop}"])


def fill_exercises(notebook: nbformat.NotebookNode, lesson) -> nbformat.NotebookNode:
    """Writes stubs and folded solutions into the cells tagged `stub:NAME` and `solution:NAME`."""
    found = exercises(lesson)
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            kind, _, name = tag.partition(":")
            if kind not in ("stub", "solution"):
                continue
            if name not in found:
                raise AdnError(f"The tag {tag!r} names no exercise of {lesson.__name__}: mend the tag.")
            solution = found[name].solution
            if kind == "stub":
                cell.source = stub_source(solution)
            else:
                code = solution_source(solution)
                cell.source = f"<details><summary>Solution</summary>\n\n```python\n{code}\n```\n\n</details>"
    return notebook


def lesson_module(notebook: Path):
    """The module of checks of a lesson: notebooks/02_squeeze_and_excitation -> adnlib.lessons.squeeze_and_excitation;
    None where it has no exercises."""
    from importlib import import_module
    from importlib.util import find_spec

    name = f"adnlib.lessons.{notebook.stem[3:]}"
    return import_module(name) if find_spec(name) else None
