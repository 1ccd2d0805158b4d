"""The parts of a class on one machine: tokens, users' folders, and servers under each user's own id."""

import csv
import os
import re
import resource
import secrets
import shutil
from pathlib import Path

from jupyterhub.auth import Authenticator
from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Dict, Int

from adnlib.errors import AdnError
from adnlib.system.files import write_whole
from adnlib.system.folders import ROOT, home

FIRST_UID = 52000


def read_tokens(path: Path, count: int) -> dict[str, tuple[str, int]]:
    """Users -> (token, user id), from a CSV file with these three columns; new users are added up to `count`.

    A user keeps token and id for as long as the file has their line. Only the owner of the file can read it.
    """
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    for row in rows:
        if len(row) != 3 or not re.fullmatch(r"[a-z][a-z0-9_-]*", row[0]) or not row[2].isdecimal():
            raise AdnError(f"{path} has the line {','.join(row)!r}: write name, token and user id, the name in a to z.")
    uid = max([FIRST_UID - 1, *(int(row[2]) for row in rows)])
    new = (name for name in (f"student{number:02d}" for number in range(1, 1000)) if name not in {r[0] for r in rows})
    rows += [[next(new), secrets.token_urlsafe(12), str(uid + 1 + i)] for i in range(count - len(rows))]
    write_whole(path, "".join(f"{','.join(row)}\n" for row in rows).encode())
    path.chmod(0o600)
    return {name: (token, int(uid)) for name, token, uid in rows}


def lay_out(folder: Path, uid: int) -> None:
    """Creates a user's folder: a copy of the notebooks, links to data and weights, the teacher's finished runs.

    What exists is left alone. A user who deletes `notebooks` gets a new copy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    links = {folder / name: ROOT / name for name in ("README.md", "data", "deploy")}  # the notebooks link to them
    links |= {folder / ".adn" / name: home() / name for name in ("data", "weights")}
    links |= {folder / "runs" / path.parent.name: path.parent for path in (ROOT / "runs").glob("*/parameters.json")}
    made = [folder, folder / ".adn", folder / "runs"]
    for path in made:
        path.mkdir(exist_ok=True)
    for link, target in links.items():
        if not link.exists() and not link.is_symlink():
            link.symlink_to(target)
    if not (folder / "notebooks").exists():
        ignored = shutil.ignore_patterns(".ipynb_checkpoints", "*.answers*.py")
        made.append(Path(shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=ignored)))
        made += (folder / "notebooks").rglob("*")
    for path in made:
        os.chown(path, uid, uid)


def closed_folder(*paths: Path) -> Path | None:
    """The first of these folders, or of the folders above them, that other users cannot enter."""
    folders = [folder for path in paths for folder in (path, *path.parents) if folder.is_dir()]
    return next((folder for folder in folders if not folder.stat().st_mode & 0o001), None)


class TokenAuthenticator(Authenticator):
    """Lets in the users of tokens.csv, each with their own token as the password."""

    tokens = Dict(help="user -> token").tag(config=True)

    async def authenticate(self, handler, data: dict) -> str | None:
        name = data["username"].strip().lower()
        token = self.tokens.get(name, "")
        return name if token and secrets.compare_digest(data["password"].strip().encode(), token.encode()) else None


class ClassSpawner(SimpleLocalProcessSpawner):
    """A server for one user, under a Unix id of the user's own, which needs no account."""

    uids = Dict(help="user -> Unix id").tag(config=True)
    process_mib = Int(3072, help="memory that one process may allocate").tag(config=True)

    async def start(self):
        lay_out(Path(self.home_dir), self.uids[self.user.name])
        return await super().start()

    def make_preexec_fn(self, name: str):
        uid, folder, limit = self.uids[name], self.home_dir, self.process_mib * 2**20

        def become_user():
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.umask(0o077)
            os.chdir(folder)

        return become_user
