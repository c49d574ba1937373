"""What a disk refuses, put into words: a folder that may not be written, a disk that is full.

Everything that the platform writes on this machine goes through here, whichever library writes it.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from crypto_platform.core.errors import PermanentFailure

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskRefusedError(PermanentFailure):
    """A folder may not be used, or is none."""


class DiskFullError(dg.Failure):
    """A disk has no room; a later attempt may find some."""


@contextmanager
def explaining_disk(place: str, *kinds: type[Exception]) -> Iterator[None]:
    """Says where a disk refuses to be used which folder that is, and what to do.

    Args:
        place: What is written, as a path.
        kinds: In which errors a library passes on what the disk said, beside ``OSError``: they are
            known by their words.

    Raises:
        DiskRefusedError: The folder may not be written, or is none.
        DiskFullError: There is no room.
    """
    caught: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except caught as error:
        refused = _explained(error, place)
        if refused is None:
            raise
        raise refused from error


def _explained(error: Exception, place: str) -> dg.Failure | None:
    filename = getattr(error, "filename", None)
    where = os.fspath(filename) if isinstance(filename, str | os.PathLike) else place
    if _is_one_of(error, _FULL):
        return DiskFullError(
            f"{where} could not be written, since the disk is full: {error}. What was committed "
            "before counts. Make room (crypto-platform lake vacuum removes what no longer counts), "
            "and materialize the same partitions again."
        )
    if _is_one_of(error, _DENIED):
        return DiskRefusedError(
            f"{where} may not be used by the user that this runs as (uid {os.geteuid()}): "
            f"{error}. What was committed before counts. Let this user read and write there "
            "and in its folder, or set CRYPTO_HOME to a folder where it may."
        )
    if isinstance(error, OSError) and error.errno in _NO_FOLDER:
        return DiskRefusedError(
            f"{where} could not be written, since something else than a folder stands in its way: "
            f"{error}. Move that away, or set CRYPTO_HOME to another folder."
        )
    return None


def _is_one_of(error: Exception, numbers: tuple[int, ...]) -> bool:
    if isinstance(error, OSError):
        return error.errno in numbers
    return any(os.strerror(number) in str(error) for number in numbers)
