"""A local WhatsApp: a server on loopback that speaks the wire protocol of the real one.

For demos and tests with the real, unmodified client. A gateway touches nothing of it but
:mod:`wavisor.sandbox.redirect`, and that only in the child process of a session in sandbox mode;
therefore this package imports nothing by itself. ``README.md`` says what it can and cannot do.
"""

from __future__ import annotations

__all__: list[str] = []
