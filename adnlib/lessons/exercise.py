"""Self-checking exercises: checks of the reader's answers, and stubs and folded solutions made from one source.

In a lesson, `f = lesson.check_f(f)` reports what is right or wrong with the reader's `f`. If the reader has not written
anything yet, it reports that and returns the solution, so a lesson can first be read and run from top to bottom.
"""

import ast
import dis
import functools
import inspect
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import torch
from torch import Tensor, nn

from adnlib.errors import AdnError
from adnlib.lessons.raised import described
from adnlib.lessons.variables import about_variables, variables_of

BEGIN, END = "# >>> yours", "# <<<"  # around the lines that the reader writes; without these marks, the whole body


class Mistake(AssertionError):
    """An error in the reader's answer, explained in one or two sentences."""

    def _render_traceback_(self) -> list[str]:  # IPython shows this instead of a traceback
        return [f"Not yet. {self}"]


def expect(condition: object, message: str) -> None:
    """Raises Mistake(message) unless the condition holds."""
    if not condition:
        raise Mistake(message)


def expect_tensor(name: str, given: object) -> None:
    """Raises Mistake if an answer is not a tensor."""
    advice = "return one tensor."
    if given is None:
        advice = "is the return missing?"
    elif isinstance(given, nn.Module):
        advice = "this is the layer itself, so call it."
    elif isinstance(given, tuple) and hasattr(given, "values"):
        advice = "this is a pair, values and positions: take .values."
    expect(isinstance(given, Tensor), f"{name} returns {type(given).__name__}, not a tensor: {advice}")


def expect_none_of(given: Tensor, wrong: list[tuple[Tensor, str]]) -> None:
    """Raises Mistake if the answer equals the result of a common mistake; wrong: pairs of result and message."""
    for value, message in wrong:
        expect(not torch.allclose(given, value, rtol=1e-4, atol=1e-6), message)


def check(
    solution: Callable, *others: Callable[[], tuple], broken: Callable | None = None, gradient: bool = True
) -> Callable:
    """Turns a function that takes the reader's answer and calls `expect` into the check of an exercise.

    others: functions that make the arguments of further examples, of other sizes. There, the answer must agree with the
    solution, and so must the gradients for inputs and for the parameters of modules, unless `gradient` is False.
    broken: for an exercise in which the reader repairs code, the code to repair. It is the stub.
    The check prints one line and returns the answer, or the solution if the stub is untouched. A wrong answer raises
    Mistake. If the answer itself raises an error, the message of the Mistake contains it, with advice.
    """

    def decorate(examine: Callable[[Callable], None]) -> Callable:
        @functools.wraps(examine)
        def checked(answer: Callable) -> Callable:
            name = solution.__name__
            if broken and _same_code(answer, broken):
                print(f"{name}: not repaired yet. The lesson continues with the solution.")
                return solution
            _expect_no_data(answer)
            try:
                watched = _watched(answer) if inspect.isfunction(answer) else answer
                examine(watched)
                for make in others:
                    _expect_agreement(solution, watched, make, gradient)
            except Exception as error:
                if isinstance(error, NotImplementedError) and str(error) == _untouched(name):
                    print(f"{name}: not written yet. The lesson continues with the solution.")
                    return solution
                text = str(error) if isinstance(error, Mistake) else f"{name} {described(error)}"
                raise Mistake(text + about_variables(answer)) from error
            print(f"{name}: correct.")
            return answer

        solution.broken = broken  # pyright: ignore[reportFunctionMemberAccess]: a function can have attributes
        checked.solution, checked.broken = solution, broken  # pyright: ignore[reportAttributeAccessIssue]
        return checked

    return decorate


def _untouched(name: str) -> str:
    """The error message of an untouched stub; torch raises NotImplementedError too, with other messages."""
    return f"{name} is yours to write"


def _same_code(answer: Callable, broken: Callable) -> bool:
    """Whether an answer is the broken code as it was given, apart from comments and the name."""
    if not inspect.isfunction(answer):
        return False
    given, stub = (  # not the instructions themselves: Python compiles a call of an imported module in two ways
        [
            i.argrepr.removeprefix("NULL + ") or i.opname
            for i in dis.get_instructions(f)
            if i.argrepr or "UNARY" in i.opname
        ]
        for f in (answer, broken)
    )
    return given == stub


def _watched(answer: Callable) -> Callable:
    """Wraps an answer to raise Mistake if it changes an input: the check uses the same input for its comparison. A
    result in another precision, such as float64, is converted to that of the inputs."""

    @functools.wraps(answer)
    def watched(*given, **named):
        arguments = (*given, *named.values())
        before = [(x, _copy(x)) for x in arguments if isinstance(x, (np.ndarray, Tensor))]
        tables = [(x, list(x.items())) for x in arguments if isinstance(x, dict)]
        lists = [(x, list(x)) for x in arguments if isinstance(x, list)]
        seed = torch.get_rng_state()
        result = answer(*given, **named)
        drawn = not torch.equal(seed, torch.get_rng_state())
        expect(
            all(np.array_equal(_copy(x), was, equal_nan=True) for x, was in before),
            f"{answer.__name__} changes its input: create a new object, x = x * 2 instead of x *= 2.",
        )
        expect(
            all(list(x.items()) == was for x, was in tables),
            f"{answer.__name__} changes the dictionary that it was given: read it with [key], without pop or del.",
        )
        expect(
            all(len(x) == len(was) and all(a is b for a, b in zip(x, was, strict=True)) for x, was in lists),
            f"{answer.__name__} changes the list that it was given: loop over it, without pop, del, sort or reverse.",
        )
        expect(
            not drawn or not isinstance(result, Tensor) or torch.equal(result, answer(*given, **named)),
            f"Two calls of {answer.__name__} give different results: leave out what is random (dropout, new layers).",
        )
        floating = [x.dtype for x in arguments if isinstance(x, Tensor) and x.is_floating_point()]
        return _in_precision(result, floating[0]) if floating else result

    return watched


def _in_precision(result: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors of a result in one precision."""
    if isinstance(result, tuple) and not hasattr(result, "values"):  # a pair of torch's stays one, to be recognised
        return tuple(_in_precision(part, dtype) for part in result)
    return result.to(dtype) if isinstance(result, Tensor) and result.is_floating_point() else result


def _state(module: nn.Module) -> list:
    """What an answer must not change in a module: its weights, whether they can be trained, and its mode."""
    weights = [(name, p.requires_grad, p.detach().cpu().numpy().tobytes()) for name, p in module.named_parameters()]
    return [*weights, *(m.training for m in module.modules())]


def _copy(x: np.ndarray | Tensor) -> np.ndarray:
    return x.detach().cpu().numpy().copy() if isinstance(x, Tensor) else x.copy()


def _expect_agreement(solution: Callable, answer: Callable, make: Callable[[], tuple], gradient: bool) -> None:
    """Raises Mistake unless answer and solution agree on a further example, in values and gradients."""
    name, arguments = solution.__name__, make()
    where = f"{name} is right for the first example, but not for {_sizes(solution, arguments)}"
    for x in arguments:
        if gradient and isinstance(x, Tensor) and x.is_floating_point():
            x.requires_grad_()
    modules = [(x, _state(x)) for x in arguments if isinstance(x, nn.Module)]
    try:
        given = answer(*arguments)
    except Mistake:
        raise
    except Exception as error:
        raise Mistake(f"{where}. There it {described(error)} Do not write the sizes of one example.") from error
    expect(
        all(_state(x) == was for x, was in modules),
        f"{name} changes the module that it was given: call it, but leave its weights and its mode as they are.",
    )
    right = solution(*arguments)
    pairs = list(zip(given, right, strict=True)) if isinstance(right, tuple) else [(given, right)]
    for result, expected in pairs:
        shape, wanted = tuple(np.shape(result)), tuple(np.shape(expected))
        lost = [size for size in wanted if size != 1] == list(shape)
        advice = " squeeze() removes every axis of size 1, also the batch's." if lost else ""
        expect(shape == wanted, f"{where}: the shape is {shape}, not {wanted}.{advice}")
        a, b = (x.detach() if isinstance(x, Tensor) else x for x in (result, expected))
        expect(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True), f"{where}: the values differ.")
        if isinstance(expected, Tensor) and expected.requires_grad:
            expect(
                isinstance(result, Tensor) and result.requires_grad,
                f"The values of {name} are right, but they have no gradient, so training would silently fail: leave "
                "out detach(), .data, .item(), NumPy and no_grad().",
            )
            inputs = [x for x in arguments if isinstance(x, Tensor) and x.requires_grad]
            weights = [p for x in arguments if isinstance(x, nn.Module) for p in x.parameters()]
            for wanted, where_to in ((inputs, ""), (weights, " for the weights of the module that is passed in")):
                gradients = [_gradients(x, wanted) for x in (result, expected)]
                expect(
                    all(torch.allclose(*both, rtol=1e-3, atol=1e-4) for both in zip(*gradients, strict=True)),
                    f"The values of {name} are right, but the gradient{where_to} is not: is a part of it detached, "
                    "by detach(), .data or .item()?",
                )


def _gradients(result: Tensor, wanted: list) -> list[Tensor]:
    """The gradients of sum(result^2), each zero where the result does not depend on it."""
    if not wanted:
        return []
    return list(torch.autograd.grad(result.square().sum(), wanted, retain_graph=True, materialize_grads=True))


def _sizes(solution: Callable, arguments: tuple) -> str:
    """The sizes of the arguments, such as "x (1, 3, 4, 5), reduction 2"."""
    named = zip(inspect.signature(solution).parameters, arguments, strict=False)
    shapes = [f"{name} {tuple(x.shape)}" for name, x in named if isinstance(x, (np.ndarray, Tensor))]
    numbers = [f"{x}" for x in arguments if isinstance(x, (int, float))]
    return ", ".join(shapes + numbers)


def _expect_no_data(answer: Callable) -> None:
    """Raises Mistake if an answer reads data of the notebook instead of its arguments. A module without weights, such
    as nn.ReLU(), is a function and not data."""
    for name, value in variables_of(answer):
        data = value.state_dict() if isinstance(value, nn.Module) else isinstance(value, (Tensor, np.ndarray))
        expect(
            not data,
            f"{answer.__name__} reads the notebook's variable {name}: use its arguments "
            f"({', '.join(inspect.signature(answer).parameters)}) instead, so that it works for other inputs.",
        )


def exercises(lesson) -> dict[str, Callable]:
    """The checks in a lesson's module, keyed by exercise name, in the order of the file."""
    return {c.solution.__name__: c for c in vars(lesson).values() if hasattr(c, "solution")}


def solution_source(solution: Callable) -> str:
    """The source of a solution as shown to the reader: without the marks and comments for pyright."""
    lines = textwrap.dedent(inspect.getsource(solution)).splitlines()
    return "\n".join(line.partition("  # pyright:")[0] for line in lines if line.strip() not in (BEGIN, END))


def stub_source(solution: Callable) -> str:
    """The source of a solution with the reader's part replaced by a NotImplementedError, or the code to repair."""
    if broken := getattr(solution, "broken", None):
        source = textwrap.dedent(inspect.getsource(broken)).rstrip()
        return source.replace(f"def {broken.__name__}(", f"def {solution.__name__}(", 1)
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
