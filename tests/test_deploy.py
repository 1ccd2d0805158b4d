"""A class on one machine: tokens, users' folders, and who gets in. benchmarks/classroom.py drives the whole of it."""

import asyncio
import os
import sys

import pytest

from adnlib import AdnError
from adnlib.system.folders import ROOT

if os.name != "posix":
    pytest.skip("user ids are POSIX's", allow_module_level=True)
sys.path.append(str(ROOT / "deploy"))
import classroom


def test_tokens_are_private_and_stay_when_users_are_added(tmp_path):
    path = tmp_path / "tokens.csv"
    before = classroom.read_tokens(path, 2)
    path.write_text(path.read_text().replace("student01", "ada"))
    after = classroom.read_tokens(path, 4)
    assert list(after) == ["ada", "student02", "student01", "student03"]
    assert [after["ada"], after["student02"]] == list(before.values())
    assert len({token for token, _ in after.values()}) == len({uid for _, uid in after.values()}) == 4
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("line", ["../x,token,52000", "ada,token", "ada,token,0x1"])
def test_a_wrong_line_is_named(tmp_path, line):
    path = tmp_path / "tokens.csv"
    path.write_text(f"{line}\n")
    with pytest.raises(AdnError, match="tokens.csv has the line"):
        classroom.read_tokens(path, 2)
    assert path.read_text() == f"{line}\n"


def test_each_user_has_a_closed_folder_with_copies_and_links(tmp_path, monkeypatch):
    owners = {}
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: owners.update({path: uid}))
    monkeypatch.setenv("ADN_HOME", str(tmp_path / "home"))
    folder = tmp_path / "users" / "ada"
    classroom.lay_out(folder, 52001)
    lesson = folder / "notebooks" / "02_squeeze_and_excitation.ipynb"
    assert folder.stat().st_mode & 0o777 == 0o700 and not lesson.is_symlink()
    assert owners[folder] == owners[lesson] == owners[folder / "runs"] == 52001
    assert (folder / ".adn" / "weights").readlink() == tmp_path / "home" / "weights"
    assert folder / "data" not in owners and (folder / "data" / "ledger.csv").exists()
    lesson.write_text("mine")
    classroom.lay_out(folder, 52001)
    assert lesson.read_text() == "mine"


def test_only_the_right_token_lets_a_user_in():
    door = classroom.TokenAuthenticator(tokens={"ada": "secret", "bob": "other"})

    def enter(name, token):
        return asyncio.run(door.authenticate(None, {"username": name, "password": token}))

    assert enter("Ada ", "secret ") == "ada"
    assert {enter(*pair) for pair in (("ada", "other"), ("ada", ""), ("eve", ""), ("eve", "secret"))} == {None}


def test_a_folder_that_others_cannot_enter_is_found(tmp_path):
    (tmp_path / "closed" / "clone").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    assert classroom.closed_folder(tmp_path / "closed" / "clone") == tmp_path / "closed"
