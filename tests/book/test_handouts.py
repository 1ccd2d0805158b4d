"""What a group gets: the workbook and the slides."""

import html
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from adnlib.book.chapters import NOTEBOOKS
from adnlib.book.slides import write_slides
from adnlib.book.workbook import write_workbook
from adnlib.cli import main
from adnlib.lessons.answers import lessons
from adnlib.lessons.exercise import exercises, lesson_module, solution_source, stub_source


def test_the_workbook_has_every_exercise_and_no_solution(tmp_path):
    page = write_workbook(tmp_path / "workbook.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<link" not in page and "src=" not in page
    assert page.index("Formula sheet") < page.index("def auroc(") and page.count("<math") > 40
    for path in lessons(NOTEBOOKS).values():
        for name, check in exercises(lesson_module(path)).items():
            secret = [x for x in solution_source(check.solution).splitlines() if x not in stub_source(check.solution)]
            assert f"def {name}(" in page
            assert not all(html.escape(line.strip()) in page for line in secret), name
    assert "Hint" not in page and "NotImplementedError" not in page


@pytest.fixture
def executed(tmp_path):
    picture = new_output("display_data", data={"image/png": "aGVsbG8="}, metadata={"image/png": {"alt": "a <curve>"}})
    tables = [new_output("display_data", data={"text/html": f"<table>{'<tr></tr>' * n}</table>"}) for n in (3, 99)]
    words = [
        new_output("stream", name="stdout", text="short & plain"),
        new_output("stream", name="stdout", text="long" * 200),
    ]
    cells = [
        new_markdown_cell("# Title\n\nAn introduction."),
        new_markdown_cell("## Question\n\nWhy $E$?\n\n<details><summary>Hint</summary>\n\nBecause.\n</details>"),
        new_code_cell("1", outputs=[*words, picture]),
        new_code_cell("2", outputs=tables),
        new_code_cell("3", outputs=words),
    ]
    path = tmp_path / "00_start_here.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_each_figure_and_each_small_table_has_a_slide_with_its_question(executed, tmp_path):
    page = write_slides([executed], tmp_path / "slides.html").read_text(encoding="utf-8")
    title, figure, table = re.findall(r"<section.*?</section>", page, re.DOTALL)
    assert "<h1>Title</h1>" in title
    assert "Why <math" in figure and "Because" not in figure and 'alt="a &lt;curve&gt;"' in figure
    assert "short &amp; plain" in figure and "longlong" not in page
    assert "Question" in table and table.count("<tr>") == 3 and "<script" not in page


def test_an_unknown_notebook_is_named(capsys):
    assert main(["book", "99_none"]) == 2
    assert "notebook='99_none' is not known: choose one of '00_start_here'" in capsys.readouterr().err
