"""A real browser on a real JupyterLab and a real Voila, on this machine only; each is started once and ended."""

import json
import shutil
from pathlib import Path

import pytest
from driving import FLAGS, STARTING, Page, find_chromium, serve
from PIL import Image

import adnlib
from adnlib.system.folders import ROOT

playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright here: pip install playwright")


@pytest.fixture(scope="session")
def browser():
    if not (program := find_chromium()):
        pytest.skip("no Chromium here: `apt-get install chromium`, or name one in ADN_CHROMIUM")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def project(tmp_path_factory, tiny_folder) -> Path:
    """A folder with the notebook, and small runs beside it: three variants of one category, one of another."""
    root = tmp_path_factory.mktemp("project")
    for name in ("tiny", "twin"):
        shutil.copytree(tiny_folder / "tiny", root / "data" / name)
    for path in (root / "data" / "twin").glob("t*/*/*.png"):  # the same but darker
        Image.open(path).point(lambda value: value // 2).save(path)
    for category, attention in (("tiny", None), ("tiny", "se"), ("tiny", "cbam"), ("twin", None)):
        config = adnlib.RunConfig(f"folder:{root / 'data'}", category, attention, preset="smoke")
        adnlib.train_run(root / "runs", config)
    (root / "runs" / "broken.failed").mkdir()
    (root / "runs" / "broken.failed" / "error.txt").write_text("It was stopped.")
    shutil.copytree(ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name, settings in (
        ("notebook-extension/tracker", {"windowingMode": "none"}),  # else cells out of sight are not there
        ("apputils-extension/notification", {"fetchNews": "false", "checkForUpdates": False}),
    ):
        path = root / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    return root


@pytest.fixture(scope="session")
def lab(browser, project):
    """JupyterLab with all cells of 10_explore executed."""
    options = [
        "--no-browser",
        "--ip=127.0.0.1",
        "--expose-app-in-browser",
        "--IdentityProvider.token=",
        "--allow-root",
        "--notebook-dir=.",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=",
    ]
    for address in serve("jupyterlab", options, project):
        page = Page(browser, "lab")
        page.page.goto(f"{address}lab/tree/10_explore.ipynb", timeout=1000 * STARTING)
        page.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel")
        page.page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
        page.page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_panels()
        yield page
        page.page.close()


@pytest.fixture(scope="session")
def voila(browser, project):
    """Voila's page of 10_explore, served as `make app` does."""
    options = ["10_explore.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", "--template=explore"]
    for address in serve("voila", options, project):
        page = Page(browser, "voila")
        page.address = address
        page.page.goto(address, timeout=1000 * STARTING)
        page.wait_for_panels()
        yield page
        page.page.close()
