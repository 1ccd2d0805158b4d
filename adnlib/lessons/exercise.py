"""Self-checking exercises: checks of the reader's answers, and stubs and folded solutions made from one source.

In a lesson, `f = lesson.check_f(f)` reports what is right or wrong with the reader's `f`. If the reader has not written
anything yet, it reports that and returns the solution, so a lesson can first be read and run from top to bottom.
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

BEGIN, END = "# >>> yours", "# <<<"  # around the lines that the reader writes; without these marks, the whole body


class Mistake(AssertionError):
    """An error in the reader's answer, explained in one or two sentences."""

    def _render_traceback_(self) -> list[str]:  # IPython shows this instead of a traceback
        return [f"Not yet. {self}"]


def expect(condition: object, message: str) -> None:
    """Raises Mistake(message) unless the condition holds."""
    if not condition:
        raise Mistake(message)


def check(solution: Callable) -> Callable:
    """Turns a function that takes the reader's answer and calls `expect` into the check of an exercise.

    The check prints one line and returns the answer, or the solution if the stub is untouched. A wrong answer raises
    Mistake. If the answer itself raises an error, the message of the Mistake contains it.
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
                    print(f"{name}: not written yet. The lesson continues with the solution.")
                    return solution
                raise Mistake(f"{name} raises {type(error).__name__}: {error}") from error
            print(f"{name}: correct.")
            return answer

        checked.solution = solution  # pyright: ignore[reportAttributeAccessIssue]: a function can have attributes
        return checked

    return decorate


def _untouched(name: str) -> str:
    """The error message of an untouched stub; torch raises NotImplementedError too, with other messages."""
    return f"{name} is yours to write"


def _watched(answer: Callable) -> Callable:
    """Wraps an answer to raise Mistake if it changes an input: the check uses the same input for its comparison."""

    @functools.wraps(answer)
    def watched(*given, **named):
        before = [(x, _copy(x)) for x in (*given, *named.values()) if isinstance(x, (np.ndarray, Tensor))]
        result = answer(*given, **named)
        expect(
            all(np.array_equal(_copy(x), was, equal_nan=True) for x, was in before),
            f"{answer.__name__} changes its input: create a new object, x = x * 2 instead of x *= 2.",
        )
        return result

    return watched


def _copy(x: np.ndarray | Tensor) -> np.ndarray:
    return x.detach().cpu().numpy().copy() if isinstance(x, Tensor) else x.copy()


def exercises(lesson) -> dict[str, Callable]:
    """The checks in a lesson's module, keyed by exercise name, in the order of the file."""
    return {c.solution.__name__: c for c in vars(lesson).values() if hasattr(c, "solution")}


def solution_source(solution: Callable) -> str:
    """The source of a solution as shown to the reader: without the marks and comments for pyright."""
    lines = textwrap.dedent(inspect.getsource(solution)).splitlines()
    return "\n".join(line.partition("  # pyright:")[0] for line in lines if line.strip() not in (BEGIN, END))


def stub_source(solution: Callable) -> str:
    """The source of a solution with the reader's part replaced by a NotImplementedError."""
    source = textwrap.dedent(inspect.getsource(solution)).rstrip()
    stop = f'raise NotImplementedError("{_untouched(solution.__name__)}")'
    if BEGIN in source:
        return re.sub(rf"( *){BEGIN}\n.*?{END}", rf"\g<1>{stop}", source, flags=re.DOTALL)
    definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.FunctionDef) or not ast.get_docstring(definition) or len(definition.body) < 2:
        raise AdnError(
            f"The solution {solution.__name__} needs a docstring and a body: the stub is generated from them."
        )
    head = source.splitlines()[: definition.body[0].end_lineno]
    return "\n".join([*head, f"    {stop}"])


def fill_exercises(notebook: nbformat.NotebookNode, lesson) -> nbformat.NotebookNode:
    """Writes stubs and folded solutions into the cells tagged `stub:NAME` and `solution:NAME`."""
    checks = exercises(lesson)
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            kind, _, name = tag.partition(":")
            if kind not in ("stub", "solution"):
                continue
            if name not in checks:
                raise AdnError(f"The tag {tag!r} does not name an exercise of {lesson.__name__}: fix the tag.")
            solution = checks[name].solution
            if kind == "stub":
                cell.source = stub_source(solution)
            else:
                code = solution_source(solution)
                cell.source = f"<details><summary>Solution</summary>\n\n```python\n{code}\n```\n\n</details>"
    return notebook


def lesson_module(notebook: Path):
    """The module with the checks of a lesson, None for a notebook without exercises:
    notebooks/02_squeeze_and_excitation.ipynb -> adnlib.lessons.squeeze_and_excitation."""
    from importlib import import_module
    from importlib.util import find_spec

    name = f"adnlib.lessons.{notebook.stem[3:]}"
    return import_module(name) if find_spec(name) else None
