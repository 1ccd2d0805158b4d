"""The folders of the suite on this machine: the clone, the committed tables, the downloads."""

import os
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = PACKAGE.parent  # of the clone, with notebooks/ and runs/
DATA = ROOT / "data" if (ROOT / "notebooks").is_dir() else PACKAGE / "data"  # a wheel contains the tables


def home() -> Path:
    """The folder of all downloads: $ADN_HOME, else `attentdiffernet` in the user's cache folder."""
    chosen = os.environ.get("ADN_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("attentdiffernet")
