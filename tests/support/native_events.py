"""neonize's protobuf classes without neonize: importing that loads the Go runtime into the process.

The generated modules need only the package's path. They are taken out of ``sys.modules`` again, so
that no other test mistakes them for the real thing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from pathlib import Path
from types import ModuleType


@functools.cache
def native_protobufs() -> ModuleType:
    """Return ``neonize.proto.Neonize_pb2``; must not be used where neonize itself is loaded."""
    assert "neonize" not in sys.modules
    spec = importlib.util.find_spec("neonize")
    assert spec is not None
    assert spec.origin is not None
    package = types.ModuleType("neonize")
    package.__path__ = [str(Path(spec.origin).parent)]
    path = list(sys.path)
    sys.modules["neonize"] = package
    try:
        return importlib.import_module("neonize.proto.Neonize_pb2")
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.split(".")[0] == "neonize"]:
            del sys.modules[name]
