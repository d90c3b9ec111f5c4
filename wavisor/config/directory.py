"""The data directory: made ready at the start, and the secret that is generated into it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import structlog
from pydantic import SecretStr

from wavisor.config.settings import Settings

__all__ = [
    "JWT_SECRET_FILE",
    "LOCK_FILE",
    "DataDirectoryError",
    "claimed_data_directory",
    "jwt_secret",
    "prepare_data_directory",
]

log = structlog.get_logger(__name__)

JWT_SECRET_FILE = "jwt.secret"  # noqa: S105 - a file's name

LOCK_FILE = "gateway.lock"

_SECRET_BYTES = 48
_LEAST_SECRET_LENGTH = 32


class DataDirectoryError(Exception):
    """The data directory cannot be used; says why in one sentence."""


def prepare_data_directory(settings: Settings) -> Path:
    """Create the data directory with mode 0700 where missing, and prove that it can be written.

    An existing directory keeps its mode: whoever made it may have had a reason.

    Returns:
        The directory's absolute path.

    Raises:
        DataDirectoryError: it is no directory, or cannot be created or written.
    """
    path = settings.data_dir
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"\0")
            probe.flush()
    except FileExistsError:
        raise DataDirectoryError(f"The data directory {path} is a file, not a directory.") from None
    except OSError as error:
        raise DataDirectoryError(
            f"The data directory {path} cannot be written: {error.strerror}. Set WAVISOR_DATA_DIR "
            "to one that can, or change its owner or mode."
        ) from None
    return path


@contextlib.contextmanager
def claimed_data_directory(settings: Settings) -> Iterator[None]:
    """Keep every other gateway off the data directory: two on the same keys would destroy them.

    The claim ends with the process, however that ends; the file stays and means nothing by itself.

    Raises:
        DataDirectoryError: another gateway has it.
    """
    path = settings.data_dir / LOCK_FILE
    # Not inherited by the session processes, which may outlive a killed gateway for a moment.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise DataDirectoryError(
            f"The data directory {settings.data_dir} is in use by another gateway"
            f"{f' (process {holder})' if holder else ''}. Give this one its own with "
            "WAVISOR_DATA_DIR."
        ) from None
    except OSError as error:  # some network file systems
        log.warning("the data directory cannot be locked: start one gateway only", error=str(error))
    else:
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    try:
        yield
    finally:
        os.close(descriptor)


def jwt_secret(settings: Settings) -> SecretStr:
    """Return the key that signs tokens: the one that was set, or the one in the data directory.

    Where there is neither, one is generated, written with mode 0600 and synced to the disk.
    Several processes may do so at once: all end up with the same key, because only the first can
    give its file the final name.

    Raises:
        DataDirectoryError: the file cannot be read or written, or holds no usable key.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret
    path = settings.data_dir / JWT_SECRET_FILE
    try:
        if not path.exists():
            _create_secret(path)
        _warn_if_open_to_others(path)
        text = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise DataDirectoryError(
            f"The secret in {path} cannot be read or created: {error.strerror}."
        ) from None
    if len(text) < _LEAST_SECRET_LENGTH:
        raise DataDirectoryError(
            f"The secret in {path} is damaged or shorter than {_LEAST_SECRET_LENGTH} characters. "
            "Delete the file to have a new one generated; everybody must then log in again."
        )
    return SecretStr(text)


def _create_secret(path: Path) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(_SECRET_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        # A hard link, unlike a rename, fails where the name is already taken: the first one wins.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
            log.info("signing secret generated", path=str(path))
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _warn_if_open_to_others(path: Path) -> None:
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        log.warning("signing secret is open to other users of this machine", path=str(path))
