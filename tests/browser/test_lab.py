"""What belongs to JupyterLab: its keys while a panel has the focus, and a notebook that is opened again."""

import shutil

import nbformat
from driving import CONTROLS


def test_the_keys_of_jupyterlab_work_in_a_panel_and_those_of_its_cells_do_not(lab, project):
    path = project / "10_explore.ipynb"
    path = next(p for p in (path, project / "notebooks" / "10_explore.ipynb") if p.exists())
    page, handle = lab.page, lab.control("viewexplorer", "views").locator("[role=slider]")
    cells = page.locator(".jp-Cell").count()
    handle.focus()
    for key in ("d", "d", "x", "a"):  # they delete, cut and insert cells
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == cells
    written = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    lab.wait_until(lambda: path.stat().st_mtime_ns > written, "the notebook is saved")
    handle.focus()
    page.keyboard.press("Escape")
    lab.wait_until(lambda: not page.evaluate("!!document.activeElement.closest('.adn-panel')"), "Escape leaves it")
    field = lab.control("runbrowser", "filter").locator("input")
    field.focus()
    page.keyboard.type("se")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    lab.wait_until(lambda: field.input_value() == "", "Ctrl+A selects the text of a field")
    assert page.locator(".jp-Cell").count() == cells


def test_a_notebook_that_is_opened_again_shows_the_images_of_its_panels(lab, project):
    lab.page.evaluate("jupyterapp.commands.execute('docmanager:save')")
    path = project / "notebooks" / "10_explore.ipynb"
    lab.wait_until(lambda: "adn-still" in path.read_text(), "the notebook is saved")
    assert lab.page.locator(".adn-still img:visible").count() == 0  # the panels are live
    shutil.copy(path, path.with_name("saved.ipynb"))
    page = lab.page.context.browser.new_page()
    page.goto(lab.page.url.partition("/lab")[0] + "/lab/workspaces/again/tree/saved.ipynb")
    page.wait_for_function(f"document.querySelectorAll('.adn-still img').length == {len(CONTROLS)}", timeout=60_000)
    page.wait_for_timeout(4000)  # until the widgets have not been found
    assert page.locator(".adn-still img:visible").count() == len(CONTROLS)
    assert page.locator("text=model not found >> visible=true").count() == 0
    assert page.locator(".adn-still figcaption:visible").count() == len(CONTROLS)
    page.close()
    assert nbformat.read(path, as_version=4)
