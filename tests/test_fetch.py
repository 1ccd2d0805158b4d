import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import full_disk

from adnlib import AdnError
from adnlib.fetch import fetch_url, home, registry

CONTENT = b"weights" * 1000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/missing":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path == "/stall":
            self.wfile.write(CONTENT[:100])
            self.wfile.flush()
            time.sleep(3)
        else:
            self.wfile.write(CONTENT[:1000] if self.path == "/cut" else CONTENT)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_home_is_adn_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ADN_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("ADN_HOME")
    assert home().name == "attentdiffernet"


def test_every_registered_download_has_a_sha256_and_a_licence():
    for entry in registry().values():
        assert len(entry["sha256"]) == 64
        assert entry["licence"] and entry["citation"] and entry["bytes"] > 0


def test_fetch_url(server, tmp_path):
    path = fetch_url(f"{server}/good", tmp_path / "file", hashlib.sha256(CONTENT).hexdigest()[:8])
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("what, message", [
    ("cut", "wrong sha256: the file changed or was cut short"),
    ("missing", "Cannot download .*/missing .*404"),
    ("stall", "Cannot download .*/stall .*timed out"),
])  # fmt: skip
def test_bad_answers(server, tmp_path, monkeypatch, what, message):
    monkeypatch.setattr("adnlib.fetch.TIMEOUT_S", 0.5)
    with pytest.raises(AdnError, match=message):
        fetch_url(f"{server}/{what}", tmp_path / "file", hashlib.sha256(CONTENT).hexdigest())


def test_nobody_answers(tmp_path):
    with pytest.raises(AdnError, match="check the network"):
        fetch_url("http://127.0.0.1:9/file", tmp_path / "file", "00")


def test_a_full_disk_during_a_download(server, tmp_path):
    with pytest.raises(OSError) as caught, full_disk(3000):
        fetch_url(f"{server}/good", tmp_path / "file", "00")
    assert not isinstance(caught.value, AdnError)  # the scratch folder around it says which disk is full


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent to a process group, which Windows has in another form")
def test_ctrl_c_during_a_download_leaves_nothing(tmp_path):
    """A package index that never answers; Ctrl-C goes to `adn fetch` and to the pip that it started."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            **os.environ,
            "ADN_HOME": str(tmp_path / "home"),
            "PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}/simple",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_CONFIG_FILE": os.devnull,
        }
        command = [sys.executable, "-m", "adnlib.cli", "fetch"]
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # where the tests run in the background the shell has switched Ctrl-C off, for their children too
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert Silent.asked.wait(60), "pip never asked the index"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        server.shutdown()
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "adn: stopped; nothing half-written was kept."
    assert "Traceback" not in errors
    assert list((tmp_path / "home").rglob("*")) == [tmp_path / "home" / "data"]


class Silent(BaseHTTPRequestHandler):
    asked = threading.Event()

    def do_GET(self):
        self.asked.set()
        time.sleep(5)

    def log_message(self, *arguments):
        pass
