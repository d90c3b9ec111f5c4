"""The walk-through in docs/first-message.md, pasted block by block as its reader would."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "first-message.md"
START_TIMEOUT = 60.0
BLOCK_TIMEOUT = 90.0


class Lines:
    """The lines of a stream, read by a thread so that waiting for one can be bounded."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: list[str] = []
        self._ended = False
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            with self._arrived:
                self.lines.append(line.rstrip("\n"))
                self._arrived.notify_all()
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def close(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join(60)

    def wait_for(self, pattern: str, timeout: float) -> str:
        def found() -> str | None:
            return next((line for line in self.lines if re.search(pattern, line)), None)

        with self._arrived:
            self._arrived.wait_for(lambda: self._ended or found(), timeout)
            line = found()
        assert line is not None, f"no line like {pattern!r} in time:\n" + "\n".join(self.lines)
        return line


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A running demo; what it told its user to export."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("WAVISOR_")
    }
    log = tmp_path / "demo.log"
    with (
        log.open("wb") as log_file,
        # A working directory of its own, without .env and wavisor.toml.
        subprocess.Popen(
            [sys.executable, str(ROOT / "main.py"), "demo", "--port", "0", "--data-dir", "demo"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log_file,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        lines = Lines(process.stdout)
        try:
            lines.wait_for(r"^export PASSWORD=", START_TIMEOUT)
            exports = (
                line.removeprefix("export ") for line in lines.lines if line.startswith("export ")
            )
            yield dict(export.split("=", 1) for export in exports)
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(20)
            lines.close()
    assert code == 0, log.read_text()[-3000:]
    # Everything that it kept is gone, and it kept it nowhere else.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "demo.log"]
    assert list((tmp_path / "demo").iterdir()) == []


@pytest.mark.timeout(300)
def test_the_first_message_guide_works_block_by_block(demo: dict[str, str]) -> None:
    assert set(demo) == {"WAVISOR_URL", "SANDBOX_URL", "EMAIL", "PASSWORD"}
    blocks = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    bash = shutil.which("bash")
    assert bash is not None
    with subprocess.Popen(
        [bash, "--noprofile", "--norc"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **demo},
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        output = Lines(shell.stdout)
        try:
            # A reader would see a failing line; here it ends the shell and the test.
            shell.stdin.write("set -eo pipefail\n")
            for number, block in enumerate(blocks):
                shell.stdin.write(f"{block}\necho; echo block-{number}-done\n")
                shell.stdin.flush()
                output.wait_for(rf"^block-{number}-done$", BLOCK_TIMEOUT)
        finally:
            shell.kill()
            output.close()
    received = [json.loads(line) for line in output.lines if '"message:received"' in line]
    texts = [item["data"]["text"] for page in received for item in page["items"]]
    assert "Hello, Bob" in texts
    assert "Hello, Ann" in texts
