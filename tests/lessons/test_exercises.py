"""Every exercise: its solution passes, its untouched stub is reported, plausible wrong answers get an explanation."""

import importlib
import inspect

import nbformat
import numpy as np
import pytest
import torch
from right_answers import RIGHT

from adnlib import AdnError
from adnlib.book.chapters import NOTEBOOKS
from adnlib.lessons import predictions
from adnlib.lessons.exercise import Mistake, check, exercises, expect, fill_exercises, lesson_module, stub_source

LESSONS = {path.stem: lesson_module(path) for path in sorted(NOTEBOOKS.glob("*.ipynb")) if lesson_module(path)}
EXERCISES = [(lesson, name) for lesson, module in LESSONS.items() for name in exercises(module)]


def exercise(lesson, name):
    return exercises(LESSONS[lesson])[name]


def wrong_answers(lesson, name):
    return importlib.import_module(f"wrong_answers.{lesson[3:]}").WRONG[name]


def written(source, module):
    """The namespace after running a cell with this source in a lesson."""
    namespace = dict(vars(module))
    exec(source, namespace)
    return namespace


@pytest.mark.parametrize("lesson, name", EXERCISES)
def test_the_solution_passes(lesson, name, capsys):
    checked = exercise(lesson, name)
    assert checked(checked.solution) is checked.solution
    assert capsys.readouterr().out == f"{name}: correct.\n"


@pytest.mark.parametrize("lesson, name", EXERCISES)
def test_the_untouched_stub_is_told_so_and_the_lesson_goes_on(lesson, name, capsys):
    checked = exercise(lesson, name)
    stub = written(stub_source(checked.solution), inspect.getmodule(checked.solution))[name]
    assert checked(stub) is checked.solution
    state = "repaired" if checked.solution.broken else "written"
    assert capsys.readouterr().out == f"{name}: not {state} yet. The lesson continues with the solution.\n"


@pytest.mark.parametrize("lesson, name", EXERCISES)
def test_wrong_answers_are_told_what_is_wrong(lesson, name):
    wrong = wrong_answers(lesson, name)
    assert len(wrong) >= (12 if lesson[:2] <= "04" else 2)
    for answer, words in wrong:
        with pytest.raises(Mistake) as caught:
            exercise(lesson, name)(answer)
        assert words in str(caught.value)
        assert str(caught.value).endswith((".", "?")) or " raises " in str(caught.value)


@pytest.mark.parametrize("lesson, name", [pair for pair in EXERCISES if pair[1] in RIGHT])
def test_right_answers_of_another_form_pass(lesson, name, capsys):
    assert len(RIGHT[name]) >= (4 if lesson[:2] <= "04" else 1)
    for answer in RIGHT[name]:
        exercise(lesson, name)(answer)
        assert capsys.readouterr().out == f"{name}: correct.\n"


def test_an_answer_that_reads_the_notebooks_data_is_told_so():
    namespace = {"data": torch.ones(2), "two": 2}
    exec("def double(x):\n    return two * x\ndef peeking(x):\n    return 2 * x + 0 * int(data[0])", namespace)
    check_double(namespace["double"])
    with pytest.raises(Mistake, match=r"peeking reads the notebook's variable data: use its arguments \(x\) instead"):
        check_double(namespace["peeking"])


@pytest.mark.parametrize("lesson, name", EXERCISES)
def test_a_check_leaves_the_readers_random_numbers_alone(lesson, name):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    exercise(lesson, name)(exercise(lesson, name).solution)
    assert torch.rand(1) == expected


@pytest.mark.parametrize("lesson", LESSONS)
def test_stubs_and_solutions_in_the_lesson_are_the_generated_ones(lesson):
    path = NOTEBOOKS / f"{lesson}.ipynb"
    committed, filled = nbformat.read(path, as_version=4), nbformat.read(path, as_version=4)
    fill_exercises(filled, LESSONS[lesson])
    assert filled == committed, f"{path.name} differs from adnlib.lessons: run make stubs"
    tags = [tag for cell in committed.cells for tag in cell.metadata.get("tags", [])]
    for name in exercises(LESSONS[lesson]):
        assert tags.count(f"stub:{name}") == tags.count(f"solution:{name}") == 1
        assert any(f"check_{name}({name})" in cell.source for cell in committed.cells)


# --- the mechanism ---


def double(x: int) -> int:
    """Twice x."""
    return 2 * x


@check(double)
def check_double(answer):
    expect(answer(2) == 4, "double(2) should be 4.")


def marked(x: int) -> int:
    """Twice x, plus one."""
    y = 0
    # >>> yours
    y = 2 * x
    # <<<
    return y + 1


def test_an_error_in_the_answer_is_named():
    with pytest.raises(Mistake, match="double raises ZeroDivisionError: division by zero"):
        check_double(lambda x: x / 0)


def test_an_error_of_torchs_own_is_no_untouched_stub():
    def answer(x):
        raise NotImplementedError("Got an unknown mode")

    with pytest.raises(Mistake, match="double raises NotImplementedError: Got an unknown mode"):
        check_double(answer)


def test_an_answer_that_changes_its_input_is_told_so():
    @check(double)
    def check_both(answer):
        for x in (torch.ones(2), np.ones(2)):
            expect((answer(x) == 2).all(), "should be 2")

    def in_place(x):
        x *= 2
        return x

    with pytest.raises(
        Mistake, match=r"in_place changes its input: create a new object, x = x \* 2 instead of x \*= 2"
    ):
        check_both(in_place)
    check_both(double)


def test_a_mistake_is_shown_without_a_traceback():
    with pytest.raises(Mistake) as caught:
        check_double(lambda x: x)
    assert caught.value._render_traceback_() == ["Not yet. double(2) should be 4."]


def off_by_one(x: int) -> int:
    """Twice x."""
    return 2 * x + 1


def fixed(x: int) -> int:
    """Twice x."""
    return 2 * x


@check(fixed, broken=off_by_one)
def check_fixed(answer):
    expect(answer(2) == 4, "fixed(2) should be 4.")


def test_a_broken_function_is_the_stub_until_it_changes(capsys):
    assert stub_source(fixed) == 'def fixed(x: int) -> int:\n    """Twice x."""\n    return 2 * x + 1'
    assert check_fixed(written(stub_source(fixed), lesson_module(NOTEBOOKS / "03_cbam.ipynb"))["fixed"]) is fixed
    assert capsys.readouterr().out == "fixed: not repaired yet. The lesson continues with the solution.\n"
    with pytest.raises(Mistake, match="should be 4"):
        check_fixed(lambda x: 2 * x + 2)


@pytest.mark.parametrize("prediction, words", [(0.61234, "you predicted 0.612"), (None, "no prediction"), ("", "no")])
def test_a_prediction_is_shown_beside_the_measured_value(prediction, words, capsys):
    predictions.answer("best of 24", prediction, 0.55)
    assert capsys.readouterr().out.startswith(f"best of 24: {words}")


def test_a_stub_keeps_signature_docstring_and_what_is_given():
    assert stub_source(double) == (
        'def double(x: int) -> int:\n    """Twice x."""\n    raise NotImplementedError("double is yours to write")'
    )
    assert stub_source(marked).splitlines()[2:] == [
        "    y = 0",
        '    raise NotImplementedError("marked is yours to write")',
        "    return y + 1",
    ]


def test_a_tag_without_an_exercise_is_refused():
    cell = nbformat.v4.new_code_cell("", metadata={"tags": ["stub:nothing"]})
    with pytest.raises(AdnError, match="'stub:nothing' does not name an exercise of"):
        fill_exercises(nbformat.v4.new_notebook(cells=[cell]), next(iter(LESSONS.values())))
