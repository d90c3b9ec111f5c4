"""The session port, its wire format, and the drivers that open WhatsApp sessions.

``port`` says what an instance's actor may rely on, ``commands`` and ``events`` are what goes to and
fro. ``driver`` opens real sessions: ``nursery`` and ``session`` are its ends of a ``forkserver``
and of each ``child`` process, in which alone ``client`` talks to the native library. ``scripted``
is a driver without WhatsApp.
"""

from __future__ import annotations

from wavisor.whatsapp.port import Session, SessionDriver, SessionError, SessionSpec

__all__ = ["Session", "SessionDriver", "SessionError", "SessionSpec"]
