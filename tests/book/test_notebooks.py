"""Every notebook runs, and every guard that says so is proved on a broken example."""

import os
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
from conftest import tiny_parameters
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from adnlib import AdnError
from adnlib.book.chapters import NOTEBOOKS, Chapter, check_notebook, execute
from adnlib.book.times import measured, read_times, record_time, too_long
from adnlib.experiments.findings import QUESTIONS
from adnlib.lessons.exercise import exercises, lesson_module, solution_source

SMOKE = tomllib.loads((Path(__file__).parents[1] / "smoke.toml").read_text(encoding="utf-8"))
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
NAMES = [path.stem for path in PATHS]
CELL_LINES = 20
# Processor time of each notebook with these parameters, in units of `adnlib.book.times.unit`. To record it again:
# ADN_RECORD_TIMES=1 .venv/bin/python -m pytest tests/book/test_notebooks.py -k "test_notebook_runs and NAME"
TIMES = Path(__file__).with_name("times.csv")


def complaints(path: Path) -> list[str]:
    """What must not be in a committed notebook."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = []
    if any(cell.outputs or cell.execution_count for cell in code):
        found.append("outputs are committed: clear them")
    if "widgets" in notebook.metadata:
        found.append("widget state is committed: clear it")
    if any(len(cell.source.splitlines()) > CELL_LINES for cell in code):
        found.append(f"a code cell is longer than {CELL_LINES} lines")
    if not notebook.cells[0].source.startswith("# "):
        found.append("the first cell is not a title")
    try:
        check_notebook(path, [])
    except AdnError as error:
        found.append(str(error))
    for cell in notebook.cells:
        text = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL) if cell.cell_type == "markdown" else ""
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            if not link.startswith("https://") and not (path.parent / link).exists():
                found.append(f"the link {link} leads nowhere")
    return found


def errors_in(path: Path) -> list[str]:
    """Errors in the outputs of an executed notebook, also those that did not stop it."""
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    errors = [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]
    streams = [output.text for output in outputs if output.output_type == "stream"]
    return errors + [text for text in streams if "Traceback" in text or "Warning" in text]


def pictures(path: Path) -> list[str]:
    """The alternative texts of all figures of an executed notebook; "" where one is missing."""
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    return [output.metadata.get("image/png", {}).get("alt", "") for output in figures]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


def solved(path: Path) -> NotebookNode:
    """A lesson as a reader leaves it who solved every exercise."""
    notebook, lesson = nbformat.read(path, as_version=4), lesson_module(path)
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("stub:"):
                cell.source = solution_source(exercises(lesson)[tag.removeprefix("stub:")].solution)
    return notebook


def printed(path: Path) -> str:
    """Everything that an executed notebook printed."""
    outputs = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.notebook
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name, tiny_folder, runs, tmp_path, monkeypatch):
    """With its exercises solved: every check says correct, nothing fails, every figure has an alternative text, and it
    takes no more time than recorded."""
    assert name in SMOKE, f"tests/smoke.toml has no parameters for {name}"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads that wait for each other count as busy
    lesson, folder = lesson_module(NOTEBOOKS / f"{name}.ipynb"), NOTEBOOKS
    if lesson:
        folder = tmp_path
        nbformat.write(solved(NOTEBOOKS / f"{name}.ipynb"), folder / f"{name}.ipynb")
    for cut in SMOKE[name]:
        given = {**tiny_parameters(name, tiny_folder, runs), **cut}
        for _ in range(2):  # the first run in a new environment also compiles modules and measures the precision
            with measured() as spent:
                executed = execute(Chapter(name, given), tmp_path / "out", notebooks=folder)
            if not too_long(name, spent.units, read_times(TIMES)):
                break
        assert errors_in(executed) == []
        assert len(pictures(executed)) > 0 and all(pictures(executed))
        if "ADN_RECORD_TIMES" in os.environ:
            record_time(TIMES, name, spent.units)
        assert too_long(name, spent.units, read_times(TIMES)) == ""
        if lesson:
            text = printed(executed)
            assert [
                e for e in exercises(lesson) if f"{e}: correct." not in text
            ] == [] and "yet. The lesson" not in text


@pytest.mark.notebook
@pytest.mark.parametrize("name", ["00_start_here", "02_squeeze_and_excitation"])
def test_random_weights_are_named_on_every_figure_of_features(name, tiny_folder, runs, tmp_path):
    """02 with its exercises untouched: it continues with their solutions."""
    given = {**tiny_parameters(name, tiny_folder, runs), **SMOKE[name][0], "weights": "random"}
    executed = execute(Chapter(name, given), tmp_path)
    assert errors_in(executed) == []
    named = ["AlexNet with random weights, not ImageNet's" in alt for alt in pictures(executed)]
    # in 02 the first figure counts parameters and the last one shows toy images
    assert all(named) if name == "00_start_here" else named == [False, True, True, True, False]
    if lesson := lesson_module(NOTEBOOKS / f"{name}.ipynb"):
        text = printed(executed)
        assert all(re.search(rf"{name}: not (written|repaired) yet", text) for name in exercises(lesson))


@pytest.mark.notebook
def test_results_without_a_run_shows_the_committed_ledger(tmp_path):
    (tmp_path / "runs" / "first.training").mkdir(parents=True)  # one is on its way, none is finished
    executed = execute(Chapter("08_results", {"runs": str(tmp_path / "runs")}), tmp_path)
    # all variants, single categories, each question of the ablation, inflation
    assert errors_in(executed) == [] and len(pictures(executed)) == 3 + len(QUESTIONS)
    text = executed.read_text(encoding="utf-8")
    assert "The project's own runs (data/ledger.csv), not yours" in text and "none yet" in text


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_committed_notebook_is_clean(path):
    assert complaints(path) == []


# --- the guards themselves, each on a broken example ---


def write(folder: Path, *cells, metadata=None) -> Path:
    path = folder / "broken.ipynb"
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=list(cells), metadata={**kernel, **(metadata or {})}), path)
    return path


TITLE = new_markdown_cell("# Title")


def parameters(source="a = 1"):
    return new_code_cell(source, metadata={"tags": ["parameters"]})


@pytest.mark.notebook
def test_a_sound_notebook_passes_every_guard(tmp_path):
    path = write(tmp_path, TITLE, parameters(), new_code_cell("print(a)"))
    assert complaints(path) == []
    executed = execute(Chapter("broken", {"a": 2}), tmp_path / "out", notebooks=tmp_path)
    assert errors_in(executed) == []
    assert nbformat.read(executed, as_version=4).cells[-1].outputs[0].text == "2\n"


def test_guard_unknown_parameter(tmp_path):
    write(tmp_path, TITLE, parameters())
    with pytest.raises(AdnError, match="broken.ipynb has no parameter 'b': choose from a"):
        execute(Chapter("broken", {"b": 2}), tmp_path / "out", notebooks=tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [0, 2])
def test_guard_parameters_tag(tmp_path, count):
    path = write(tmp_path, TITLE, *[parameters() for _ in range(count)], new_code_cell("b = 1"))
    assert complaints(path) == [f"broken.ipynb has {count} cells tagged 'parameters': tag exactly one."]
    with pytest.raises(AdnError, match="tag exactly one"):
        execute(Chapter("broken"), tmp_path / "out", notebooks=tmp_path)


@pytest.mark.notebook
def test_guard_failing_cell(tmp_path):
    write(tmp_path, TITLE, parameters(), new_code_cell("1 / 0"))
    with pytest.raises(AdnError, match=r"broken.ipynb failed in cell \[\d\] \(ZeroDivisionError: division by zero"):
        execute(Chapter("broken"), tmp_path / "out", notebooks=tmp_path)
    assert (tmp_path / "out" / "broken.ipynb").exists()


@pytest.mark.notebook
@pytest.mark.parametrize(
    "source, found",
    [
        ("import sys; print('Traceback (most recent call last)', file=sys.stderr)", "Traceback"),
        ("import warnings; warnings.warn('old')", "UserWarning"),
    ],
)
def test_guard_error_that_stops_nothing(tmp_path, source, found):
    write(tmp_path, TITLE, parameters(), new_code_cell(source))
    executed = execute(Chapter("broken"), tmp_path / "out", notebooks=tmp_path)
    assert any(found in text for text in errors_in(executed))


@pytest.mark.parametrize(
    "cells, metadata, complaint",
    [
        ([TITLE, parameters(), new_code_cell("1", execution_count=1)], {}, "outputs are committed"),
        ([TITLE, parameters()], {"widgets": {}}, "widget state is committed"),
        ([TITLE, parameters("a = 1\n" * 21)], {}, "a code cell is longer than 20 lines"),
        ([parameters()], {}, "the first cell is not a title"),
        ([TITLE, parameters(), new_markdown_cell("[next](99_none.ipynb)")], {}, "the link 99_none.ipynb leads nowhere"),
    ],
)
def test_guard_committed_state(tmp_path, cells, metadata, complaint):
    found = complaints(write(tmp_path, *cells, metadata=metadata))
    assert len(found) == 1 and found[0].startswith(complaint)


BURN = "import time\nstart = time.process_time()\nwhile time.process_time() < start + {}: pass"


@pytest.mark.notebook
def test_guard_doubled_time(tmp_path, monkeypatch):
    """A notebook that doubles its processor time is found, and its name is in the message."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    units = {}
    for seconds in (1, 5):
        write(tmp_path, TITLE, parameters(), new_code_cell(BURN.format(seconds)))
        with measured() as spent:
            execute(Chapter("broken"), tmp_path / "out", notebooks=tmp_path)
        units[seconds] = spent.units
    recorded = {"broken": units[1]}
    assert too_long("broken", units[1] * 1.4, recorded) == ""
    assert "broken takes" in too_long("broken", units[5], recorded)
    assert too_long("other", 1.0, recorded) == ""


@pytest.mark.notebook
def test_guard_missing_alternative_text(tmp_path):
    source = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    write(tmp_path, TITLE, parameters(), new_code_cell(source))
    assert pictures(execute(Chapter("broken"), tmp_path / "out", notebooks=tmp_path)) == [""]
