"""Whether this machine has what the native WhatsApp client needs, asked before the first session.

Without importing neonize, which would load the Go runtime into the gateway.
"""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import platform
from pathlib import Path

from wavisor.whatsapp.port import SessionError

__all__ = ["ClientUnavailableError", "check_client", "client_version"]

_ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}


class ClientUnavailableError(SessionError):
    """The native client cannot work here; says what to do in one sentence."""


def client_version() -> str | None:
    """Return the installed version of neonize, None when it is not installed."""
    try:
        return importlib.metadata.version("neonize")
    except importlib.metadata.PackageNotFoundError:
        return None


def check_client() -> None:
    """Check that neonize, its native library and libmagic are there.

    Raises:
        ClientUnavailableError: one of them is missing.
    """
    package = importlib.util.find_spec("neonize")
    if package is None or package.origin is None:
        raise ClientUnavailableError(
            "the WhatsApp client is not installed; install it with: pip install neonize"
        )
    machine = platform.machine().lower()
    library = f"neonize-linux-{_ARCHITECTURES.get(machine, machine)}.so"
    if not (Path(package.origin).parent / library).exists():
        raise ClientUnavailableError(
            f"the installed WhatsApp client has no native library for this machine ({library}); "
            "install the wheel of neonize that is made for it"
        )
    if ctypes.util.find_library("magic") is None:
        raise ClientUnavailableError(
            "libmagic is missing, which the WhatsApp client needs; "
            "install it with: apt install libmagic1 (Debian, Ubuntu), "
            "dnf install file-libs (Fedora) or apk add libmagic (Alpine)"
        )
