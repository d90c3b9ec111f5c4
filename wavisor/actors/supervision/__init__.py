"""The parts of supervision; what others use of them is in ``wavisor.actors.supervisor``."""

from __future__ import annotations
