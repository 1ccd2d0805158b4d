"""The report, the book and the panels of a run whose category, defects and images have hostile names: nothing is
executed, asked elsewhere or complained of."""

import shutil
from pathlib import Path

import nbformat
import papermill
import pytest
from driving import CONTROLS, STARTING, Page, serve
from nasty import LEGAL

from adnlib import RunConfig, plots
from adnlib.book.report import figure_html, write_report
from adnlib.experiments.runs import comparison, read_runs
from adnlib.experiments.sweeps import execute_run
from adnlib.explain.overview import overview
from adnlib.system.folders import ROOT

SCRIPT = "<img src=x onerror=alert(1)>"
ELSEWHERE = '"><img src=\\\\example.org\\x onerror=alert(2)>$x_$'
NAMES = [ELSEWHERE, *(name for name in LEGAL if len(name.encode()) < 200 and not name.isalnum())][::3]
PANELS = [panel for panel in CONTROLS if panel != "flowplayground"]  # it shows no run


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, tiny_folder) -> Path:
    """A project with the panels' notebook and a run on such a category, with the notebook that trained it."""
    root = tmp_path_factory.mktemp("hostile")
    data = root / f"{SCRIPT}{ELSEWHERE}"
    test = shutil.copytree(tiny_folder / "tiny", data / f"{ELSEWHERE}{SCRIPT}") / "test"
    for name in NAMES:
        (test / name).mkdir()
        shutil.copy(test / "spot" / "000.png", test / name / f"{name}.png")
    execute_run(root / "runs", RunConfig(f"folder:{data}", None, "se", preset="smoke", weights="random"))
    (root / "notebooks").mkdir()
    notebook = nbformat.read(ROOT / "notebooks" / "10_explore.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "panel_of(FlowPlayground)" not in cell.source]
    nbformat.write(notebook, root / "notebooks" / "10_explore.ipynb")
    return root


@pytest.fixture(scope="module")
def report(hostile) -> Path:
    """The run's notebook and the panels' as a page, with the summary that `adn run` and `adn book` write."""
    runs = read_runs(hostile / "runs")
    table = comparison(runs).assign(**{"data set": runs[0].config.dataset, SCRIPT: ELSEWHERE})
    summary = figure_html(overview(runs, 12), ELSEWHERE, SCRIPT) + plots.table(table).to_html()
    explored = hostile / "notebooks" / "10_executed.ipynb"
    papermill.execute_notebook(
        str(hostile / "notebooks" / "10_explore.ipynb"), str(explored), cwd=hostile / "notebooks"
    )
    return write_report([runs[0].folder / "notebook.ipynb", explored], summary, hostile / "report.html")


def watched(browser, name: str) -> tuple[Page, list[str]]:
    """A page, and the dialogs that it opens."""
    page, dialogs = Page(browser, name), []
    page.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    return page, dialogs


@pytest.mark.notebook
def test_the_report_and_the_book(browser, report):
    page, dialogs = watched(browser, "report")
    page.page.goto(report.as_uri())
    page.page.wait_for_load_state("networkidle")
    captions = page.page.locator("figcaption").all_inner_texts()
    assert SCRIPT in page.page.inner_text("table") and captions[0] == SCRIPT
    assert all(caption.startswith("This is an image of the panel") for caption in captions[1:])
    assert page.page.locator("[id='10_executed'] img").count() >= len(PANELS)
    assert page.page.locator("[onerror], [onload], script, iframe").count() == 0
    assert page.page.evaluate("[...document.images].every(image => image.naturalWidth)")
    assert dialogs == page.complaints == [] and page.elsewhere == [report.as_uri()]
    page.page.close()


@pytest.fixture
def panels(browser, hostile, report):
    """Voila's page of 10_explore."""
    options = ["10_explore.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", "--template=explore"]
    for address in serve("voila", options, hostile):
        page, dialogs = watched(browser, "voila")
        page.page.goto(address, timeout=1000 * STARTING)
        page.wait_for_panels(PANELS)
        yield page, dialogs
        page.page.close()


@pytest.mark.notebook
def test_the_panels(panels):
    page, dialogs = panels
    category = page.control("scoreexplorer", "category").locator("option").first.text_content()
    assert SCRIPT in category.replace("\xa0", " ")
    rank = page.control("scoreexplorer", "rank").locator("[role=slider]")
    for key in ("Home", "ArrowRight", "PageUp", "End"):
        page.changes("scoreexplorer", lambda key=key: rank.press(key))
    page.control("painter", "save").click()
    page.changes("runbrowser", lambda: page.control("runbrowser", "notebook").locator("input").click())
    notebook = page.page.frame_locator(".adn-runbrowser iframe")
    assert SCRIPT in notebook.locator("body").inner_text()
    for panel in PANELS:
        page.settled(panel, 0.3)
    assert page.page.locator("[onerror], [onload], img[src=x]").count() == 0
    assert notebook.locator("[onerror], [onload]").count() == 0
    assert page.page.locator(".adn-panel [role=alert]").all_inner_texts() == []
    assert page.page.locator(".jupyter-widgets-error-widget").count() == 0
    assert dialogs == page.complaints == page.elsewhere == []
