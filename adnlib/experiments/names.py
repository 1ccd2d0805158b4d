"""Names that become part of a run's folder name: each is checked or encoded, so that none can lead out of a folder."""

import hashlib
import re
import unicodedata

from adnlib.errors import AdnError

LONGEST = 255 - len(".training")  # bytes: most file systems allow 255, and a run also has NAME.training and .NAME.sweep
SEEDS = 2**32  # NumPy's
DIGITS = 12  # of a sha256, after "+", which no other part of a name contains


def check_word(parameter: str, value: str) -> None:
    """AdnError unless a value is a short word of letters, digits, _ and -."""
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]{0,39}", value):
        raise AdnError(f"{parameter} = {value!r:.60} is not a name: write at most 40 letters, digits, _ and -.")


def check_seed(seed: int) -> None:
    """AdnError unless a seed is one that NumPy and torch accept."""
    if not 0 <= seed < SEEDS:
        raise AdnError(f"seed={seed} is out of range: choose 0 to {SEEDS - 1}.")


def check_option(name: object, value: object) -> None:
    """AdnError unless the name is an identifier and the value a finite number, a bool or a short word."""
    if not (isinstance(name, str) and name.isascii() and name.isidentifier() and len(name) <= 40):
        raise AdnError(f"{name!r:.60} cannot be the name of an option: write a short identifier, such as reduction.")
    is_number = isinstance(value, int | float) and abs(value) < 2**63  # False for NaN
    if not is_number and not (isinstance(value, str) and re.fullmatch("[a-z][a-z0-9_]{0,39}", value)):
        raise AdnError(f"The option {name} needs another value: write a number, true, false or a lower-case word.")


def path_part(name: str) -> str:
    """A name for use inside a file name: unchanged if it is letters, digits, ".", "_", "-" and spaces.

    Any other name becomes the letters and digits at its beginning, "+", and digits of its sha256, so two different
    names never become one. The same is done with names like those of hidden and of temporary files, and with names
    that are not in Unicode's form NFC, because some file systems do not tell them from their NFC form.
    """
    ordinary = re.fullmatch(r"[\w. -]+", name) and not name.startswith((".", "tmp-"))
    if ordinary and unicodedata.is_normalized("NFC", name):
        return name
    start = re.sub(r"[^\w ]+", "_", unicodedata.normalize("NFC", name)).strip("_ ")[:40]
    return f"{start}+{_digest(name)}"


def file_name(name: str) -> str:
    """A name that is short enough for a folder: the end of one that is too long is replaced by digits of its sha256."""
    if len(name.encode()) <= LONGEST:
        return name
    start = name.encode()[: LONGEST - DIGITS - 1].decode(errors="ignore")
    return f"{start}+{_digest(name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:DIGITS]
