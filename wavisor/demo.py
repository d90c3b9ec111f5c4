"""``wavisor demo``: a gateway, a local WhatsApp and an account, all new, gone when it ends."""

from __future__ import annotations

import secrets
import sys
import tempfile
from pathlib import Path

from wavisor.admin import create_operator
from wavisor.config import Settings, prepare_data_directory
from wavisor.sandbox.process import SandboxProcess

__all__ = ["run"]

_EMAIL = "demo@example.com"

_GUIDE = """
  The demo gateway is ready, with a local WhatsApp: nothing leaves this machine, and everything
  is forgotten when it stops (Ctrl+C).

  API reference   {url}/docs
  Walk-through    docs/first-message.md: paste these lines into another terminal first

export WAVISOR_URL={url}
export SANDBOX_URL={sandbox}
export EMAIL={email}
export PASSWORD={password}

"""


def run(settings: Settings, place: Path | None = None) -> int:
    """Run the demo until it is interrupted.

    Args:
        settings: as loaded; where it keeps things, and whom it lets in, is the demo's own affair.
        place: the directory in which it keeps everything, in one of its own that is removed at
            the end; default: that of the system for temporary files.

    Returns:
        The exit code, as of :func:`wavisor.main.serve`.

    Raises:
        SandboxStartError: the local WhatsApp did not start.
    """
    from wavisor.main import serve

    password = secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="wavisor-demo-", dir=place) as directory:
        root = Path(directory)
        with SandboxProcess(log_file=root / "local-whatsapp.log") as whatsapp:
            sandbox = whatsapp.endpoints.control_url
            demo = settings.model_copy(
                update={
                    "data_dir": root / "data",
                    "database_url": None,
                    "session_store_url": None,
                    "sandbox_url": sandbox,
                }
            )
            prepare_data_directory(demo)
            create_operator(demo, email=_EMAIL, name="Demo", password=password)

            def show_guide(url: str) -> None:
                sys.stdout.write(
                    _GUIDE.format(url=url, sandbox=sandbox, email=_EMAIL, password=password)
                )
                sys.stdout.flush()

            return serve(demo, show_guide)
