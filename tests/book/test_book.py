import os
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from adnlib import AdnError
from adnlib.book.chapters import NOTEBOOKS, Chapter, execute, main_path, whole_book
from adnlib.book.report import write_report
from adnlib.errors import KernelDiedError


def test_main_path_trains_each_variant_between_start_and_results():
    titles = [chapter.title for chapter in main_path()]
    assert titles == ["00_start_here", "07_train_none", "07_train_se", "07_train_cbam", "08_results"]


def test_the_book_has_every_notebook_in_order():
    chapters = [chapter.notebook for chapter in whole_book()]
    assert sorted(set(chapters)) == sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    assert chapters == sorted(chapters)


@pytest.mark.notebook
@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
def test_a_killed_kernel_is_named_with_its_notebook_and_cell(tmp_path):
    parameters = new_code_cell("x = 1", metadata={"tags": ["parameters"]})
    killing = [new_code_cell("y = 2"), new_code_cell("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[parameters, *killing], metadata=metadata), tmp_path / "07_train.ipynb")
    with pytest.raises(
        KernelDiedError, match=r"The kernel of 07_train.ipynb was killed in cell \[3\], perhaps because"
    ):
        execute(Chapter("07_train"), tmp_path / "out", notebooks=tmp_path)


@pytest.fixture
def page(tmp_path):
    stream = [new_output("stream", name="stdout", text=text) for text in ("\r 0%", "\r 50%", "\r100%\ndone\n")]
    picture = new_output("display_data", data={"image/png": "aGVsbG8="}, metadata={"image/png": {"alt": "a curve"}})
    cells = [
        new_markdown_cell("# Title & more\n\nEnergy $E = mc^2$, a price of $3, code `$x$`.\n\n$$\\frac{1}{2}$$"),
        new_markdown_cell("[next](08_results.ipynb) and [training](07_train.ipynb)"),
        new_code_cell("1 < 2", outputs=[*stream, picture]),
    ]
    path = tmp_path / "00_start_here.ipynb"
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}}
    nbformat.write(new_notebook(cells=cells, metadata={"widgets": widgets}), path)
    return write_report([path], "<p>summary</p>", tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_needs_no_network_and_no_script(page):
    assert "<script" not in page and "<link" not in page
    assert re.findall(r'(?:src|href)="(?!#|data:)([^"]*)"', page) == []


def test_the_report_shows_formulas_pictures_and_the_last_state_of_a_bar(page):
    assert page.count("<math") == 2 and "<code>$x$</code>" in page and "a price of $3" in page
    assert 'src="data:image/png;base64,aGVsbG8="' in page.replace("\n", "") and 'alt="a curve"' in page
    assert "100%" in page and "50%" not in page and "done" in page
    assert "Title &amp; more" in page and "<p>summary</p>" in page


def test_links_between_notebooks_stay_inside_the_page(page, tmp_path):
    assert re.findall(r'<a href="#(?!00)', page) == [] and "next" in page  # neither notebook is in it
    training = "[start](00_start_here.ipynb) [results](08_results.ipynb#table)"
    for name in ("07_train_se", "07_train_none"):
        nbformat.write(new_notebook(cells=[new_markdown_cell(f"# {name}\n\n{training}")]), tmp_path / f"{name}.ipynb")
    executed = [tmp_path / f"{name}.ipynb" for name in ("00_start_here", "07_train_none", "07_train_se")]
    page = write_report(executed, "", tmp_path / "report.html").read_text(encoding="utf-8")
    targets = re.findall(r'<a href="#([^"]*)"', page[page.index("<main>") :])
    assert targets == ["07_train_none", "00_start_here", "00_start_here"]
    assert all(f'id="{target}"' in page for target in targets)


def test_a_formula_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("adnlib.book.report.mathml", lambda *a, **k: 1 / 0)
    path = tmp_path / "a.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# T\n$x$")]), path)
    with pytest.raises(AdnError, match=r"a.ipynb: the formula \$x\$ cannot be read"):
        write_report([path], "", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
