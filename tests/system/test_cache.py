import multiprocessing
import os
import time

import numpy as np
import pytest
import torch
from conftest import make_category

import adnlib
from adnlib.engine import extraction
from adnlib.engine.extraction import features_of, read_images
from adnlib.system import cache
from adnlib.system.cache import digest, module_digest
from adnlib.system.files import file_sha256


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """An empty cache of 1 MB; its files."""
    monkeypatch.setenv("ADN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cache, "LIMIT_GB", 1e-3)
    return lambda: sorted((tmp_path / "home").rglob("*.npy"))


def test_what_is_kept_comes_back(kept):
    values = np.arange(6.0).reshape(2, 3)
    assert cache.load("a") is None
    cache.keep("a", values)
    assert np.array_equal(cache.load("a"), values)


def flipped(content: bytes, step: int = 37) -> list[bytes]:
    """The content with one bit flipped, at many positions."""
    return [content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :] for i in range(0, len(content), step)]


def test_a_damaged_file_counts_as_none(kept):
    cache.keep("a", np.zeros(100))
    (path,) = kept()
    content = path.read_bytes()
    for damaged in (content[:50], b"", b"hello", *flipped(content)):
        path.write_bytes(damaged)
        assert cache.load("a") is None
    path.write_bytes(content)
    assert cache.load("a") is not None


def test_the_longest_unused_go_first(kept):
    for name in "abc":
        cache.keep(name, np.zeros(40_000))  # 320 kB each
        time.sleep(0.01)
    cache.load("a")
    time.sleep(0.01)
    cache.keep("d", np.zeros(40_000))
    assert [name for name in "abcd" if cache.load(name) is not None] == ["a", "c", "d"]
    cache.keep("e", np.zeros(10**6))  # larger than the cache
    assert cache.load("e") is None and cache.load("d") is not None


def write_often(name):
    for _ in range(100):
        cache.keep(name, np.full(2000, 7.0))


def test_two_processes_may_write_the_same_and_a_killed_one_leaves_nothing_half(kept):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_often, args=("a",)) for _ in range(2)]
    for writer in writers:
        writer.start()
    writers[0].kill()
    while writers[1].is_alive():
        values = cache.load("a")
        assert values is None or (values == 7).all()
    assert (cache.load("a") == 7).all()


def test_digests_tell_apart_what_differs(tmp_path):
    one, two = torch.zeros(2, 3), torch.zeros(3, 2)
    names = {digest(x) for x in (one, two, one.double(), one + 1, one[:1], 0, 0.0, "0", (one.shape, 0))}
    assert len(names) == 9
    assert digest(one) == digest(torch.zeros(2, 3)) and digest("a", "b") != digest("ab")
    linear = torch.nn.Linear(2, 2)
    before = module_digest(linear)
    assert before != module_digest(torch.nn.Sequential(linear))
    with torch.no_grad():
        linear.bias[0] += 1
    assert before != module_digest(linear)
    path = tmp_path / "a"
    path.write_text("one")
    before = file_sha256(path)
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert file_sha256(path) != before


def counted(monkeypatch):
    views, real = [], extraction.extract
    monkeypatch.setattr(extraction, "extract", lambda m, x, v, *at: views.extend(v.views) or real(m, x, v, *at))
    return views


def test_features_are_computed_once_for_each_view_and_by_content(kept, tmp_path, monkeypatch):
    make_category(tmp_path / "tiny", train=6, test=2)
    data = adnlib.load_dataset(f"folder:{tmp_path}", "tiny")
    model = adnlib.DifferNet(preset="smoke", weights="random")
    views = adnlib.views.quarter_turns(3)
    computed = counted(monkeypatch)
    first = features_of(model, data.train, views[:2])
    assert computed == list(views[:2]) and len(kept()) == 2
    again = features_of(model, data.train, views)  # two are there, one is new
    assert computed == list(views) and torch.equal(again[:, :2], first)

    data.train[0].path.write_bytes(data.train[1].path.read_bytes())  # another image
    assert torch.equal(features_of(model, data.train, views[:1])[0], features_of(model, data.train, views[:1])[1])
    other = adnlib.DifferNet("se", preset="smoke", weights="random")  # another network
    computed.clear()
    features_of(other, data.train, views[:1])
    assert computed == [views[0]]


def test_large_sets_of_images_lie_in_a_file(kept, tiny, monkeypatch):
    in_memory = read_images(tiny.test, 32)
    monkeypatch.setattr(extraction, "IMAGE_BYTES", 1000)
    in_file = read_images(tiny.test, 32)
    assert torch.equal(in_memory, in_file) and len(kept()) == 1
    in_file += 1  # a copy in memory: the file stays what it is
    assert torch.equal(read_images(tiny.test, 32), in_memory)
    assert torch.equal(in_memory, tiny.test.images(32))
    for damaged in (b"half", flipped(kept()[0].read_bytes(), 5000)[1]):
        kept()[0].write_bytes(damaged)  # it is made again
        assert torch.equal(read_images(tiny.test, 32), in_memory)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room for a file")
def test_room_for_a_mapped_file_is_taken_before_it_is_filled(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        file.truncate(2**20)
    assert (tmp_path / "file").stat().st_blocks * 512 < 2**20
    cache._reserve(tmp_path / "file")
    assert (tmp_path / "file").stat().st_blocks * 512 >= 2**20


def test_chunks_change_nothing(tiny, monkeypatch):
    model = adnlib.DifferNet(preset="smoke", weights="random")
    views = adnlib.views.quarter_turns(2)
    whole = features_of(model, tiny.test, views)
    monkeypatch.setattr(extraction, "CHUNK_BYTES", 1)
    monkeypatch.setattr(extraction, "FLOW_ROWS", 3)
    one_by_one = features_of(model, tiny.test, views)
    assert extraction.chunk_size(256) == 1
    assert torch.allclose(whole, one_by_one, atol=1e-5)
    z, log_det = extraction.transform_views(model, whole)
    z_, log_det_ = model.transform(whole[:, 1])
    assert torch.allclose(z[:, 1], z_, atol=1e-5) and torch.allclose(log_det[:, 1], log_det_, atol=1e-3)
