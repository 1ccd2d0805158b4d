"""The registry, data/registry.toml: everything that can be fetched, and the check of its tables."""

import re
import tomllib
from functools import cache
from pathlib import Path

from adnlib.errors import AdnError
from adnlib.imagesets.elpv import lay_out_elpv
from adnlib.system.folders import DATA

REGISTRY = DATA / "registry.toml"
# Values of `layout`: functions that write an archive's images into a folder in MVTec AD's layout and return how many
# images of each category they leave out, by reason. Without `layout`, the archive is unpacked unchanged.
CONVERTERS = {
    "elpv": lay_out_elpv,
}
KEYS = dict.fromkeys(
    [
        "title",
        "what",
        "licence",
        "citation",
        "page",
        "package",
        "file",
        "layout",
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
    """The tables of data/registry.toml: source, sha256, size, licence and citation of everything that can be fetched.

    The file explains its keys. AdnError names the table and the key that are wrong.
    """
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdnError(f"Cannot read {path} ({error}): restore it from the project.") from error
    for name, entry in entries.items():
        if problem := _problem_in(name, entry):
            raise AdnError(f"{path}, table [{name}]: {problem}.")
    return entries


def _problem_in(name: str, entry: object) -> str | None:
    """A description of what is wrong with one table of the registry; None if it is valid."""
    if not isinstance(entry, dict):
        return "it is a value, not a table; begin it with [name]"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return "a name consists of lower-case letters, digits and _"
    for key in ("title", "what", "licence", "citation"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            return f"{key} is missing; write a string"
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
        return f"url = {entry['url']!r} is not a web address; begin it with https://"
    if "file" in entry and not re.fullmatch(r"\w[\w.+-]*", entry["file"]):
        return f"file = {entry['file']!r} is a path; write only a name"
    if "layout" in entry and entry["layout"] not in CONVERTERS:
        return f"layout = {entry['layout']!r} is not known; choose from {', '.join(CONVERTERS)}, or leave it out"
    if not {"package", "url", "steps", "made"} & set(entry):
        return "it has none of package, url, steps and made; name a source"
    for category, counts in entry.get("categories", {}).items():
        if not (isinstance(counts, list) and len(counts) == 3 and all(isinstance(n, int) and n >= 0 for n in counts)):
            return f"the counts of {category} are {counts!r}; write [train, test normal, test anomalous]"
    return None
