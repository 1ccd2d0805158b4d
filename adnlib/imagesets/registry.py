"""data/registry.toml: what can be fetched, and how each table of it must look."""

import re
import tomllib
from functools import cache
from pathlib import Path

from adnlib.errors import AdnError
from adnlib.system.folders import DATA

REGISTRY = DATA / "registry.toml"
KEYS = dict.fromkeys(
    [
        "title",
        "what",
        "licence",
        "citation",
        "page",
        "package",
        "file",
        "sha256",
        "url",
        "url_sha256",
        "accept",
        "tensors_sha256",
        "member",
        "member_sha256",
    ],
    str,
) | {"bytes": int, "steps": list, "made": bool, "categories": dict}


@cache
def registry(path: Path = REGISTRY) -> dict[str, dict]:
    """data/registry.toml: what can be fetched, with source, sha256, size, licence and citation; the file explains its
    keys. AdnError names the table and the key that are wrong."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdnError(f"Cannot read {path} ({error}): restore it from the project.") from error
    for name, entry in entries.items():
        if wrong := _wrong_in(name, entry):
            raise AdnError(f"{path}, table [{name}]: {wrong}.")
    return entries


def _wrong_in(name: str, entry: object) -> str | None:
    """What is wrong with one table of the registry, in words; None where nothing is."""
    if not isinstance(entry, dict):
        return "it is a value and not a table; begin it with [name]"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return "a name is made of small letters, digits and _"
    for key in ("title", "what", "licence", "citation"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            return f"{key} is missing; write a text"
    for key, value in entry.items():
        if key not in KEYS:
            return f"{key} is not known; choose from {', '.join(sorted(KEYS))}"
        if not isinstance(value, KEYS[key]):
            return f"{key} = {value!r} has the wrong type; write a {KEYS[key].__name__}"
        if key.endswith("sha256") and not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{8}", value):
            return f"{key} = {value!r} is not a sha256; write its 64 digits"
    if "package" in entry and not ("==" in entry["package"] and {"file", "sha256"} <= set(entry)):
        return "a package needs its version (name==version), file and sha256"
    if "url" in entry and not re.match(r"https?://", entry["url"]):
        return f"url = {entry['url']!r} is no web address; begin it with https://"
    if "/" in entry.get("file", "") or entry.get("file") == "..":
        return f"file = {entry['file']!r} is a path; write a name alone"
    if not {"package", "url", "steps", "made"} & set(entry):
        return "it says neither package, url, steps nor made; name a source"
    for category, counts in entry.get("categories", {}).items():
        if not (isinstance(counts, list) and len(counts) == 3 and all(isinstance(n, int) and n >= 0 for n in counts)):
            return f"the counts of {category} are {counts!r}; write [train, test normal, test anomalous]"
    return None
