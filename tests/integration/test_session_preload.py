"""What session processes share with the forkserver, and what it must not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, sys
from pathlib import Path
from wavisor.whatsapp import forkserver

forkserver._preload()
assert "neonize" not in sys.modules
assert "neonize-" not in Path("/proc/self/maps").read_text(), "the native library was loaded"
assert len(os.listdir("/proc/self/task")) == 1, "a thread was started"
shared = {f"neonize.proto.{name}" for name in forkserver.SCHEMAS}
assert shared <= sys.modules.keys(), shared - sys.modules.keys()

# What a child does next.
before = set(sys.modules)
import neonize.client, neonize.events
import wavisor.whatsapp.client
from neonize.proto.Neonize_pb2 import JID
assert JID(User="1", RawAgent=0, Device=0, Integrator=0, Server="lid").SerializeToString()
own = sorted(name for name in set(sys.modules) - before if name.startswith("neonize.proto."))
assert not own, own
"""


def test_children_find_the_schemas_loaded_and_load_the_native_library_themselves() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
