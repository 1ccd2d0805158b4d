"""A reset loses no answer, a restore brings them back, and the progress is what the checks say."""

import shutil

import nbformat
import pytest

from adnlib import AdnError
from adnlib.book.chapters import NOTEBOOKS
from adnlib.cli import main
from adnlib.lessons import squeeze_and_excitation as lesson
from adnlib.lessons.answers import answers_in, pick_lesson, progress, reset, restore
from adnlib.lessons.exercise import solution_source

NAME = "02_squeeze_and_excitation.ipynb"
MINE = "# my own words\ndef squeeze(x):\n    return x.flatten(2).mean(2)"
WRONG = "def excite(z, w1, w2):\n    return w2(torch.relu(w1(z)))"
BROKEN = "def scale(x, s):\n    return x *"


@pytest.fixture
def folder(tmp_path):
    """The notebooks with three answers in lesson 02: a right one, a wrong one, one that is no Python."""
    for path in NOTEBOOKS.glob("0[23]_*.ipynb"):
        shutil.copy(path, tmp_path)
    write(tmp_path / NAME, {"squeeze": MINE, "excite": WRONG, "scale": BROKEN})
    return tmp_path


def write(path, answers):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("stub:") and tag.removeprefix("stub:") in answers:
                cell.source = answers[tag.removeprefix("stub:")]
    nbformat.write(notebook, path)


def test_progress_is_what_the_checks_say(folder, capsys):
    states = progress(folder / NAME)
    assert states["squeeze"] == ("solved", "") and states["se_parameters"] == ("not written", "")
    assert states["excite"][0] == "not yet" and "is the sigmoid missing" in states["excite"][1]
    assert states["scale"][0] == "not yet" and "SyntaxError" in states["scale"][1]
    assert main(["progress", "--notebooks", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 11 exercises are solved" in printed and "02_squeeze_and_excitation" in printed


def test_the_solutions_are_solved(folder):
    write(folder / NAME, {"excite": solution_source(lesson.excite), "scale": solution_source(lesson.scale)})
    assert [state for state, _ in progress(folder / NAME).values()].count("solved") == 3


def test_a_reset_saves_every_answer_and_a_restore_brings_it_back(folder):
    path = folder / NAME
    first = reset(path)
    assert first.name == "02_squeeze_and_excitation.answers.py" and MINE in first.read_text()
    assert nbformat.read(path, 4) == nbformat.read(NOTEBOOKS / NAME, 4)
    assert reset(path) is None
    assert restore(path, first) == ["excite", "scale", "squeeze"]
    written = answers_in(nbformat.read(path, 4), lesson)
    assert written == {"squeeze": MINE, "excite": WRONG, "scale": BROKEN}
    assert reset(path).name == "02_squeeze_and_excitation.answers2.py" and first.exists()


def test_a_restore_does_not_replace_other_answers(folder):
    saved = reset(folder / NAME)
    write(folder / NAME, {"squeeze": "def squeeze(x):\n    return x"})
    with pytest.raises(AdnError, match=r"has other answers \(squeeze\): save them first with `adn reset`"):
        restore(folder / NAME, saved)
    (folder / "notes.py").write_text("hello")
    for file in (folder / "notes.py", folder / "gone.py"):
        with pytest.raises(AdnError, match="name a file that `adn reset` has saved"):
            restore(folder / NAME, file)


@pytest.mark.parametrize("reply, saved", [("y", True), ("", False), ("no", False)])
def test_the_command_asks_first(folder, monkeypatch, capsys, reply, saved):
    monkeypatch.setattr("builtins.input", lambda question: reply)
    before = (folder / NAME).read_bytes()
    assert main(["reset", "2", "--notebooks", str(folder)]) == 0
    assert bool(list(folder.glob("*.answers.py"))) == saved
    assert ((folder / NAME).read_bytes() == before) != saved
    if saved:
        file = str(next(folder.glob("*.answers.py")))
        assert main(["reset", "02", "--restore", file, "--notebooks", str(folder)]) == 0
        assert "restored   excite, scale, squeeze" in capsys.readouterr().out


def test_stubs_do_not_erase_an_answer(folder, capsys):
    before = (folder / NAME).read_bytes()
    assert main(["stubs", "--notebooks", str(folder)]) == 2
    assert "has answers (squeeze, excite, scale): save them first with `adn reset 02`" in capsys.readouterr().err
    assert (folder / NAME).read_bytes() == before
    reset(folder / NAME)
    assert main(["stubs", "--notebooks", str(folder)]) == 0


def test_lessons_are_found_by_number_or_name(folder):
    for wanted in ("2", "02", "02_squeeze_and_excitation", NAME):
        assert pick_lesson(folder, wanted) == folder / NAME
    for wanted in ("9", "07_train", "squeeze", ""):
        with pytest.raises(AdnError, match="is not a lesson with exercises"):
            pick_lesson(folder, wanted)
