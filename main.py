"""``python main.py`` runs the gateway; with arguments it is the console command ``wavisor``."""

from __future__ import annotations

import sys

from wavisor.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["serve"]))
