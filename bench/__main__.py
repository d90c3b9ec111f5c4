"""Runs the benchmarks, all of them or those that are named.

    python -m bench [api] [auth] [delivery] [limits] [sessions] [storage] [supervision]
        [webhooks]

Each runs as a program of its own; ``python -m bench.sessions --help`` shows what one of them takes.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

# What the others rest on comes first; what takes longest comes last.
_NAMES = ("supervision", "storage", "limits", "api", "auth", "delivery", "webhooks", "sessions")


def _machine() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return (
        f"{len(names) or os.cpu_count()} × {names[0] if names else platform.machine()}, "
        f"Linux {platform.release()}, Python {platform.python_version()}, "
        f"load average {os.getloadavg()[0]:.1f}"
    )


def main() -> int:
    """Run what the command line names; return how many of them failed."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Runs the benchmarks.")
    # argparse checks the choices of `*` against the default as a whole, so not by `choices`.
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(_NAMES))
    names = parser.parse_args().names or list(_NAMES)
    if unknown := set(names) - set(_NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    failed = 0
    for name in names:
        print(f"== {name}: {_machine()}", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0
        )
    return failed


if __name__ == "__main__":
    sys.exit(main())
