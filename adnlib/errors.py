"""The exception for every problem that a user can fix; its message states the problem and the remedy."""

import errno
from collections.abc import Iterable


class AdnError(ValueError):
    """Bad input or a missing file. The message is one sentence; commands print it and exit with status 2.

    A file or folder in the message can have any name, so the message is made `printable`.
    """

    def __init__(self, message: object = ""):
        super().__init__(printable(str(message)))


def printable(text: str, keep: str = "") -> str:
    """Text with escapes, such as \\x1b, for control characters and for those that hide or reorder others.

    A terminal would obey them. keep: characters that are not changed, such as line breaks.
    """
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


class KernelDiedError(AdnError):
    """The process that executes a notebook was killed; another attempt may succeed."""


def check_choice(argument: str, value: object, choices: Iterable) -> None:
    """Raises AdnError unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        raise AdnError(f"{argument}={value!r} is not known: choose one of {', '.join(map(repr, choices))}.")


def is_disk_full(error: OSError) -> bool:
    """Whether the operating system refused a write because a disk, a quota or a file-size limit was reached."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
