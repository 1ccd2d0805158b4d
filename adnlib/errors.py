"""One exception for everything a user can put right: a sentence that names the thing and the remedy."""

import errno
from collections.abc import Iterable


class AdnError(ValueError):
    """Bad input or a missing file. The message is one sentence; commands print it and exit with status 2."""


def check_choice(argument: str, value: object, choices: Iterable) -> None:
    """Raises AdnError unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        raise AdnError(f"{argument}={value!r} is not known: choose one of {', '.join(map(repr, choices))}.")


def is_disk_full(error: OSError) -> bool:
    """True where the operating system refused to write for want of room: disk, quota or file-size limit."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
