"""A class in real Chromium: what each further user costs, how long they wait, what they can read of each other.

    .venv/bin/python benchmarks/classroom.py panels [VISITORS] [FOLDER_OF_RUNS]
    .venv/bin/python benchmarks/classroom.py notebooks [USERS]        (as root)

"panels": visitors of the page that `make app` serves, one after the other; every page stays open. "notebooks": users of
`make class` log in, then all of them run lesson 02 to its end at the same time and solve its first exercise. Memory is
the private memory (USS) of a person's processes, in MiB: what this person needs in addition to what is shared.
"""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from playwright.sync_api import Browser, sync_playwright

from adnlib.lessons import squeeze_and_excitation as lesson
from adnlib.lessons.exercise import solution_source
from adnlib.system.folders import ROOT

sys.path.insert(0, str(ROOT / "tests" / "browser"))  # the same servers as in the tests
from driving import CONTROLS, FLAGS, Page, answers, find_chromium, serve

PORT = 8765
PATIENCE = 900_000  # ms, on a busy machine
FIRST_PANEL = ("scoreexplorer",)
PAUSE = 20  # s between two visitors, in which the next kernel is prepared
OUTPUTS = """() => { const shown = jupyterapp.shell.currentWidget.content.widgets.map(w => w.model);
  return JSON.stringify(shown.map(c => c.outputs ? c.outputs.toJSON() : [])) }"""
SET = """([old, fresh]) => { for (const cell of jupyterapp.shell.currentWidget.content.widgets) {
  const source = cell.model.sharedModel; if (source.getSource().includes(old)) source.setSource(fresh) } }"""
LAST = """() => { const code = jupyterapp.shell.currentWidget.content.widgets.filter(w => w.model.type == 'code');
  return jupyterapp.shell.currentWidget.sessionContext.session.kernel.status == 'idle' &&
    code[code.length - 1].model.executionCount > 0 }"""
FIRST = """() => jupyterapp.shell.currentWidget.content.widgets.some(
  w => w.model.type == 'code' && w.model.outputs.length)"""
RUN = "jupyterapp.commands.execute('notebook:run-all-cells')"
READY = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'"
SPY = """import glob
for name in glob.glob({other!r} + '/**', recursive=True) + [{other!r} + '/notebooks/{lesson}.ipynb', {tokens!r}]:
    try: open(name).read(); print('READ', name)
    except OSError as error: print('REFUSED', type(error).__name__)
"""


def private(processes: list[psutil.Process]) -> float:
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().uss
        except psutil.Error:
            continue
    return total / 2**20


def servers() -> list[psutil.Process]:
    """The page's server and its kernels."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if re.search(r"adnlib\.panels\.app|multiprocessing|ipykernel", line):
            found.append(process)
    return found


def panels(browser: Browser, count: int, runs: Path) -> None:
    print("| visitor | page (s) | first panel (s) | all panels (s) | private memory added (MiB) |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "notebooks").mkdir()
        shutil.copy(ROOT / "notebooks" / "10_explore.ipynb", root / "notebooks")
        (root / "runs").symlink_to(runs)
        options = ["10_explore.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", "--template=explore"]
        for address in serve("voila", options, root):
            for visitor in range(1, count + 1):
                time.sleep(PAUSE)
                before, start, seconds = private(servers()), time.perf_counter(), []
                page = Page(browser, "voila")
                page.page.set_default_timeout(PATIENCE)
                page.page.goto(address, timeout=PATIENCE, wait_until="commit")
                page.page.wait_for_selector("h1")
                seconds.append(f"{time.perf_counter() - start:.1f}")
                for wanted in (FIRST_PANEL, tuple(CONTROLS)):
                    page.wait_for_panels(wanted)
                    seconds.append(f"{time.perf_counter() - start:.1f}")
                time.sleep(PAUSE)
                print(f"| {visitor} | {' | '.join(seconds)} | {private(servers()) - before:.0f} |", flush=True)


def notebooks(browser: Browser, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="adn-class-") as folder:
        os.chmod(folder, 0o755)
        config = Path(folder) / "config.py"
        config.write_text(
            f"load_subconfig({str(ROOT / 'deploy' / 'jupyterhub_config.py')!r})\n"
            "c.ClassSpawner.args = [*c.ClassSpawner.args, '--LabApp.expose_app_in_browser=True']\n"
        )
        chosen = {"ADN_CLASS": folder, "ADN_CLASS_USERS": str(count), "ADN_CLASS_ADDRESS": f"http://127.0.0.1:{PORT}"}
        command = [sys.executable, "-m", "jupyterhub", "--config", str(config)]
        with open(Path(folder) / "hub.log", "w") as log:
            hub = subprocess.Popen(command, env={**os.environ, **chosen}, stdout=log, stderr=log)
        try:
            while not answers(PORT):
                assert hub.poll() is None, (Path(folder) / "hub.log").read_text()[-3000:]
                time.sleep(0.5)
            _class(browser, Path(folder))
        finally:
            hub.send_signal(signal.SIGINT)
            hub.wait(60)


def _class(browser: Browser, folder: Path) -> None:
    tokens = folder / "hub" / "tokens.csv"
    people, pages = list(csv.reader(tokens.open())), {}
    rows = {name: [name] for name, _, _ in people}
    for name, token, _ in people:
        page = browser.new_context().new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"http://127.0.0.1:{PORT}/hub/login")
        page.fill("#username_input", name)
        page.fill("#password_input", token)
        start = time.perf_counter()
        page.click("#login_submit")
        page.wait_for_url(f"**/user/{name}/lab**")
        page.goto(f"http://127.0.0.1:{PORT}/user/{name}/lab/tree/notebooks/{lesson_name()}.ipynb")
        page.wait_for_function(READY)
        rows[name].append(time.perf_counter() - start)
        pages[name] = page
    start = time.perf_counter()
    for page in pages.values():
        page.evaluate(f"() => {{ {RUN} }}")
    for what in (FIRST, LAST):
        for name, page in pages.items():
            page.wait_for_function(what)
            rows[name].append(time.perf_counter() - start)
    for name, page in pages.items():
        assert "squeeze: not written yet" in page.evaluate(OUTPUTS)
        other = folder / "users" / next(n for n, _, _ in people if n != name)
        spy = SPY.format(other=str(other), lesson=lesson_name(), tokens=str(tokens))
        solution = solution_source(lesson.check_squeeze.solution)
        page.evaluate(SET, ["squeeze is yours to write", f"{solution}\n\n{spy}"])
        page.evaluate(f"() => {{ {RUN} }}")
    for name, _, uid in people:
        pages[name].wait_for_function(LAST)
        pages[name].wait_for_function(f"() => ({OUTPUTS})().includes('squeeze: correct.')")
        shown = pages[name].evaluate(OUTPUTS)
        own = [p for p in psutil.process_iter() if p.uids().real == int(uid)]
        kernels = [p for p in own if "ipykernel" in " ".join(p.cmdline())]
        rows[name] += [private(kernels), private(own), shown.count("REFUSED"), shown.count("READ /")]
    print(
        "| user | server and notebook ready (s) | first output (s) | last cell (s) | kernel (MiB) | all (MiB) "
        "| reads refused | reads allowed |"
    )
    print(f"|{' --- |' * 8}")
    for row in rows.values():
        print("| " + " | ".join(x if isinstance(x, str) else f"{x:.0f}" for x in row) + " |")


def lesson_name() -> str:
    [path] = (ROOT / "notebooks").glob("02_*.ipynb")
    return path.stem


def main() -> None:
    what, count = sys.argv[1], int((sys.argv[2:3] or ["4"])[0])
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start, Chromium {browser.version}\n")
        if what == "panels":
            panels(browser, count, Path((sys.argv[3:4] or [ROOT / "runs"])[0]).resolve())
        else:
            notebooks(browser, count)
        browser.close()


if __name__ == "__main__":
    main()
