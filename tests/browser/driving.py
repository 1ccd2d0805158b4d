"""Servers to show the notebook with, and a page of a browser that is driven and watched."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlparse

import pytest

from adnlib.system.folders import ROOT

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
# Each control, and what it must change: "pictures" or words of its panel, or only its "own" value (a brush).
CONTROLS = {
    "scoreexplorer": {
        "category": "pictures",
        "run": "pictures",
        "compare": "pictures",
        "rank": "pictures",
        "sort": "own",
        "thumb": "pictures",
        "plane": "own",
        "cut": "pictures",
        "threshold": "pictures",
        "miss": "own",
        "alarm": "own",
        "defects": "own",
    },
    "painter": {
        "category": "pictures",
        "image": "pictures",
        "kind": "own",
        "size": "own",
        "colour": "own",
        "blur": "own",
        "opacity": "own",
        "angle": "pictures",
        "brightness": "pictures",
    },
    "gateexplorer": {
        "run": "pictures",
        "image": "pictures",
        "other": "pictures",
        "place": "pictures",
        "force": "pictures",
        "ranks": "pictures",
        "value": "pictures",
    },
    "viewexplorer": {"run": "pictures", "image": "pictures", "turns": "pictures", "views": "pictures"},
    "flowplayground": {
        "density": "pictures",
        "blocks": "pictures",
        "clamp": "pictures",
        "first": "pictures",
        "second": "pictures",
    },
    "runbrowser": {
        "sort": "pictures",
        "status": "pictures",
        "run": "pictures",
        "notebook": "pictures",
        "filter": "pictures",
    },
}
STARTING = 120  # seconds for a server, and for all cells of the notebook, on a busy machine
SCREENSHOTS = ROOT / "runs" / "screenshots"


def find_chromium() -> str | None:
    """The browser: $ADN_CHROMIUM, else Chromium or Chrome by name."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("ADN_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def serve(name: str, options: list[str], root: Path):
    """Starts Voila or JupyterLab on a free port, waits until it answers, gives its address, with the token that Voila
    prints; ends it with its kernels."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "jupyter",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
    }
    environment = {**os.environ, **{name: str(root / folder) for name, folder in own.items()}}  # nothing of the user's
    environment |= {"PYTHONPATH": str(ROOT), "JUPYTER_PATH": str(ROOT / "adnlib" / "panels"), "ADN_CACHE_GB": "0"}
    module, app = {"voila": ("adnlib.panels.app", "Voila"), "jupyterlab": ("jupyterlab", "ServerApp")}[name]
    options = [*options, f"--{app}.kernel_websocket_connection_class=adnlib.panels.server.NoDelay", f"--port={port}"]
    command = [sys.executable, "-m", module, *options]
    path = root / f"{name}-{port}.log"
    with open(path, "w") as log:
        server = subprocess.Popen(
            command, cwd=root / "notebooks", env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + STARTING
            while not (answers(port) and (address := re.search(rf"http://127.0.0.1:{port}/\S*", path.read_text()))):
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"{name} did not start: {path.read_text()[-2000:]}")
                time.sleep(0.2)
            yield address[0] if name == "voila" else f"http://127.0.0.1:{port}/"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Page:
    """A page with the panels: what it asked for, what it complained of, and its panels' pictures and controls."""

    def __init__(self, browser, name: str):
        self.name, self.theme, self.elsewhere, self.complaints = name, "light", [], []
        self.page = browser.new_page(viewport={"width": 1024, "height": 900})
        self.page.set_default_timeout(30_000)
        self.page.on("request", lambda request: self._check(request.url))
        self.page.on("websocket", lambda socket: self._check(socket.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._hear(message) if message.type == "error" else None)

    def _check(self, url: str) -> None:
        address = urlparse(url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            self.elsewhere.append(url)

    def _hear(self, message) -> None:
        self.complaints.append(f"{message.text} ({message.location['url']})")

    def wait_for_panels(self, panels=tuple(CONTROLS)) -> None:
        """Until every panel is there, with a name for every control."""
        for panel in panels:
            try:
                self.page.wait_for_selector(f".adn-{panel}", state="attached", timeout=1000 * STARTING)
            except Exception as error:  # Playwright's TimeoutError
                waiting = self.page.locator(".adn-wait:visible").all_inner_texts()
                raise AssertionError(f"{panel} does not appear: {waiting}, {self.complaints}") from error
            self.page.wait_for_function(
                "p => [...document.querySelectorAll(`.adn-${p} img`)].some(i => i.naturalWidth)", arg=panel
            )
        self.page.wait_for_function(
            "document.querySelectorAll('.adn-panel [role=slider]:not([aria-label])').length == 0"
        )

    def control(self, panel: str, name: str):
        return self.page.locator(f".adn-{panel} .adn-{name}").first

    def state(self, panel: str) -> str:
        """Everything that a panel shows but its controls: the addresses of its pictures, which change with them, and
        its words."""
        return self.page.evaluate(
            """panel => { const p = document.querySelector(`.adn-${panel}`);
            const words = [...p.querySelectorAll('.widget-html-content, iframe')].map(e => e.innerHTML.slice(0, 4000));
            return JSON.stringify([[...p.querySelectorAll('img')].map(i => i.src), words]) }""",
            panel,
        )

    def settled(self, panel: str, seconds: float = 0.5) -> str:
        """The state when it has not changed for a while."""
        state, since = self.state(panel), time.monotonic()
        while time.monotonic() - since < seconds:
            time.sleep(0.05)
            if (new := self.state(panel)) != state:
                state, since = new, time.monotonic()
        return state

    def changes(self, panel: str, act) -> None:
        """Does something, and waits until what the panel shows is another."""
        before = self.settled(panel, 0.15)
        act()
        self.moves_on(panel, before)

    def moves_on(self, panel: str, before: str) -> None:
        """Waits until what the panel shows is another."""
        self.wait_until(lambda: self.state(panel) != before, f"the picture of {panel} changes")

    def wait_until(self, condition, what: str) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"{self.name}: it is not so that {what}"
            time.sleep(0.02)

    def pixels(self, panel: str) -> list[str]:
        """The bytes of a panel's pictures, as text."""
        return self.page.evaluate(
            """async panel => { const all = [];
            for (const image of document.querySelectorAll(`.adn-${panel} img`)) {
              if (!image.src || getComputedStyle(image).display == 'none') continue;
              all.push([...new Uint8Array(await (await fetch(image.src)).arrayBuffer())].join()) }
            return all }""",
            panel,
        )

    def choose_theme(self, theme: str) -> None:
        """ "light" or "dark"; Voila's page is reloaded for it."""
        if theme == self.theme:
            return
        self.theme = theme
        if self.name == "voila":
            self.page.goto(f"{self.address}&theme={theme}", timeout=1000 * STARTING)
            self.wait_for_panels()
        else:
            name = f"JupyterLab {theme.title()}"
            self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
            self.page.wait_for_function("theme => document.body.dataset.jpThemeName == theme", arg=name)

    def screenshot(self, what: str) -> None:
        """The panels one by one, under runs/screenshots."""
        for panel in CONTROLS:
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            self.page.locator(f".adn-{panel}").first.screenshot(path=SCREENSHOTS / f"{self.name}-{what}-{panel}.png")
