import os
from pathlib import Path

import numpy as np
import pytest
from conftest import make_category, save_image

from adnlib.inspection import looks
from adnlib.inspection.data_check import check_data
from adnlib.inspection.looks import IMAGE, MASK, Look, look_at


@pytest.fixture
def folder(tmp_path, empty_home, monkeypatch) -> Path:
    """A category, and a home in which looks are remembered."""
    monkeypatch.delenv("ADN_CACHE_GB")
    return make_category(tmp_path / "data" / "tiny", train=3, test=2)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that are decoded."""
    names, decode = [], looks.look

    def watched(path, kind):
        names.append(path.name)
        return decode(path, kind)

    monkeypatch.setattr(looks, "look", watched)
    return names


def check(folder) -> str:
    return "\n".join(map(str, check_data(str(folder.parent), progress=False)))


def test_only_new_and_changed_files_are_decoded(folder, decoded, empty_home):
    first = check(folder)
    assert len(decoded) == 3 + 4 + 2
    decoded.clear()
    assert check(folder) == first and decoded == []
    changed = folder / "train" / "good" / "001.png"
    before = changed.stat()
    changed.write_bytes(bytes(before.st_size))  # as many bytes at the same time
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    save_image(folder / "train" / "good" / "new.png", np.eye(9, dtype=np.uint8))
    assert "001.png: its content is not PNG" in check(folder)
    assert decoded == ["001.png", "new.png"]
    decoded.clear()
    check(folder)
    assert decoded == ["001.png"]  # the cause, such as a permission, may have gone without a trace
    assert not list(empty_home.glob(".tmp-*"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content.replace(b"64, 64", b"64, 65", 1),
        lambda content: b"",
        lambda content: bytes(100),
    ],
)
def test_a_damaged_memory_is_not_believed(folder, decoded, empty_home, damage):
    first = check(folder)
    memory = empty_home / "checked_images"
    memory.write_bytes(damage(memory.read_bytes()))
    decoded.clear()
    assert check(folder) == first and len(decoded) == 9
    decoded.clear()
    assert check(folder) == first and decoded == []


def test_another_decoder_or_other_rules_decode_again(folder, decoded, monkeypatch):
    check(folder)
    monkeypatch.setattr(looks, "HEADER", b"adnlib 2")
    decoded.clear()
    check(folder)
    assert len(decoded) == 9


def test_other_folders_are_remembered_and_removed_files_forgotten(folder, decoded, monkeypatch):
    check(folder)
    other = make_category(folder.parent.parent / "more" / "tiny2", train=3, test=2)
    check(other)
    (folder / "train" / "good" / "000.png").unlink()
    check(folder)
    assert len(list(looks._lines())) == 8 + 9
    decoded.clear()
    check(other)
    assert decoded == []
    monkeypatch.setattr(looks, "MOST_LINES", 10)
    save_image(folder / "train" / "good" / "000.png", np.eye(9, dtype=np.uint8))
    check(folder)
    check(other)
    assert decoded == ["000.png", *decoded[1:]] and len(decoded) == 1 + 8  # all but the newest lines were dropped


def test_what_was_decoded_before_an_interruption_is_remembered(folder, decoded, monkeypatch):
    files = [(path, IMAGE) for path in sorted((folder / "train" / "good").iterdir())]
    monkeypatch.setattr(looks, "CHUNK", 1)
    decode = looks.look
    monkeypatch.setattr(looks, "look", lambda *file: decode(*file) if file != files[2] else interrupt())
    with pytest.raises(KeyboardInterrupt):
        look_at(files, folder)
    monkeypatch.setattr(looks, "look", decode)
    decoded.clear()
    assert all(look.mode == "RGB" for look in look_at(files, folder)) and decoded == ["002.png"]


def interrupt():
    raise KeyboardInterrupt


def test_a_home_that_cannot_be_written_is_no_problem(folder, decoded, empty_home):
    empty_home.write_text("a file")
    assert check(folder) == check(folder) and len(decoded) == 18


def test_the_cache_can_be_disabled(folder, empty_home, monkeypatch):
    monkeypatch.setenv("ADN_CACHE_GB", "0")
    check(folder)
    assert not empty_home.exists()


def test_a_look_at_each_kind_of_file(folder, monkeypatch):
    image = save_image(folder / "a.png", np.full((6, 4), 300, np.uint16))
    mask = save_image(folder / "m.png", np.zeros((6, 4), np.uint8))
    monkeypatch.setattr(looks, "LARGE", 10)  # with a lock, once each
    grey, empty, lost = look_at([(image, IMAGE), (mask, MASK), (folder / "no.png", IMAGE)], folder)
    assert grey[:-1] == ("", 6, 4, "I;16", 300, True) and len(grey.digest) == 16
    assert empty == Look("", 6, 4, "L", 0)
    assert lost == Look("No such file or directory")
