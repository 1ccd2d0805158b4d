"""The page of `make app` is for those who have its token: other users of the machine can reach its port, too."""

import asyncio
import http.client
import os
import re
import sys
import webbrowser
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import AsyncMock, Mock
from urllib.parse import urlsplit
from urllib.request import url2pathname

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from adnlib.panels.app import PanelServer
from adnlib.panels.server import PageKernels
from adnlib.system.folders import ROOT

sys.path.append(str(ROOT / "tests" / "browser"))  # the same server as in the tests with a browser
from driving import serve

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


def ask(address: str, path: str, method: str = "GET", **headers) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=180)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def test_a_prepared_kernel_is_idle_from_when_it_is_handed_out(monkeypatch):
    kernels, ended = PageKernels(), AsyncMock()
    monkeypatch.setattr(kernels, "shutdown_kernel", ended)
    kernel = Mock(execution_state="idle", kernel_spec=Mock(metadata={}), provisioner=Mock(waiting=False), kept=False)
    kernels._kernels["one"], kernels._kernel_connections["one"] = kernel, 0
    pool = [Mock(**{"cancelled.return_value": False, "exception.return_value": None})]
    pool[0].result.return_value = {"kernel_id": "one"}
    kernels._pools = {"a.ipynb": pool}

    def check_after_a_minute():
        kernel.last_activity = datetime.now(UTC) - timedelta(minutes=1)
        asyncio.run(kernels.cull_kernel_if_idle("one"))

    check_after_a_minute()
    pool.clear()  # a visitor comes, and the next check is late
    check_after_a_minute()
    assert not ended.called
    check_after_a_minute()
    ended.assert_called_once_with("one")


@pytest.mark.process
def test_without_the_token_nothing_is_shown_and_no_kernel_is_reached(tmp_path):
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "notebooks").mkdir()
    imported = "import sys\n'it has imported the panels' if 'adnlib.panels.painter' in sys.modules else ''"
    cells = [new_code_cell("6 * 7"), new_code_cell(imported)]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks" / "a.ipynb")
    lesson = "# A lesson\n\n[panels](a.ipynb) [word](words.md#flow) [outside](../data/README.md) [missing](c.ipynb)"
    nbformat.write(new_notebook(cells=[new_markdown_cell(lesson)], metadata=kernel), tmp_path / "notebooks" / "b.ipynb")
    (tmp_path / "notebooks" / "words.md").write_text(lesson)
    (tmp_path / "notebooks" / "painted.png").write_bytes(b"secret")
    for address in serve("voila", ["a.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", "--template=explore"], tmp_path):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[0-9a-f]{48}", address)
        for token in ("", "?token=", "?token=0"):
            answer = ask(address, f"/{token}")
            assert (answer.status, answer.headers["Location"][:6]) == (302, "/login")
        assert ask(address, "/login").status == 200

        answer = ask(address, f"/?{urlsplit(address).query}")
        page, cookie = answer.read().decode(), answer.headers["Set-Cookie"].split(";")[0]
        (kernel_id,) = re.findall(r'"kernelId": "([\w-]+)"', page)
        assert answer.status == 200 and "42" in page
        assert ("it has imported the panels" in page) == (os.name == "posix")  # a forked kernel
        channel = f"/api/kernels/{kernel_id}/channels"
        assert ask(address, channel, **UPGRADE, Cookie=cookie).status == 101
        for refused in ({}, {"Cookie": cookie[:-4] + "0000"}, {"Authorization": "token 0"}):
            assert ask(address, channel, **UPGRADE, **refused).status == 403
            for method, path in (
                ("GET", f"/api/kernels/{kernel_id}"),
                ("DELETE", f"/api/kernels/{kernel_id}"),
                ("POST", f"/api/kernels/{kernel_id}"),
                ("POST", f"/voila/api/shutdown/{kernel_id}"),
                ("GET", "/voila/files/painted.png"),
            ):
                assert ask(address, path, method, **refused).status in (403, 405)
        assert ask(address, channel, **UPGRADE, Cookie=cookie).status == 101  # the kernel still runs

        for name in ("b.ipynb", "words.md"):  # the links beside the panels
            assert ask(address, f"/{name}").status == 302
            lesson = ask(address, f"/{name}", Cookie=cookie)
            text = lesson.read().decode()
            assert lesson.status == 200 and "A lesson" in text and "Content-Security-Policy" in text
            links = re.findall(r'<a href="([^"]*)">', text)
            assert links == ["/", "/", "words.md#flow"]  # back, to the panels, beside; none outside the folder
        assert ask(address, "/none.ipynb", Cookie=cookie).status == 404
        assert (
            ask(address, f"/voila/api/shutdown/{kernel_id}", "POST", Cookie=cookie).status == 204
        )  # a page's farewell
        assert ask(address, channel, **UPGRADE, Cookie=cookie).status == 404


def test_the_browser_opens_a_private_file_that_leads_to_the_address_with_the_token(monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("threading.Thread", lambda target, args, daemon: Mock(start=lambda: target(*args)))
    server = PanelServer(ip="127.0.0.1", port=8866)
    assert server.auto_token
    server.identity_provider = Mock(token="abc")
    server.launch_browser()
    (address,) = opened
    assert address.startswith("file:") and "abc" not in address
    path = Path(url2pathname(urlsplit(address).path))
    assert "http://127.0.0.1:8866/?token=abc" in path.read_text() and path.stat().st_mode & 0o077 == 0
    path.unlink()
