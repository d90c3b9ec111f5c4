from __future__ import annotations

import ctypes.util
import platform
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from wavisor.whatsapp import preflight
from wavisor.whatsapp.nursery import session_environment
from wavisor.whatsapp.preflight import ClientUnavailableError, check_client, client_version


def test_this_machine_has_what_the_client_needs_and_the_check_loads_none_of_it() -> None:
    program = (
        "import sys; from wavisor.whatsapp.preflight import check_client; check_client();"
        "import wavisor.whatsapp.driver;"
        "assert 'neonize' not in sys.modules;"
        "assert not any(m.startswith('wavisor.sandbox') for m in sys.modules);"
        "assert 'neonize' not in open('/proc/self/maps').read()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
    assert client_version() == "0.5.2"


def test_a_missing_libmagic_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: None)
    with pytest.raises(ClientUnavailableError, match="apt install libmagic1"):
        check_client()


def test_a_missing_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ClientUnavailableError, match="pip install neonize"):
        check_client()


def test_a_client_for_another_machine_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = ModuleSpec("neonize", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ClientUnavailableError, match=r"neonize-linux-riscv64\.so"):
        check_client()


def test_session_processes_see_nothing_of_the_gateways_secrets() -> None:
    inherited = {
        "PATH": "/bin",
        "WAVISOR_JWT_SECRET": "s",
        "AWS_SECRET_ACCESS_KEY": "s",
        "https_proxy": "http://corporate:3128",
        "NO_PROXY": "localhost",
    }
    environment = session_environment(inherited)
    assert environment["https_proxy"] == "http://corporate:3128"
    assert environment["NO_PROXY"] == "localhost"
    assert not {name for name in environment if "SECRET" in name}
    assert environment["NEONIZE_BOT_TAG"] == "off"
    assert "SSL_CERT_FILE" not in environment


def test_in_sandbox_mode_there_is_no_other_way_out() -> None:
    inherited = {
        "HTTPS_PROXY": "http://corporate:3128",
        "NO_PROXY": "*",
        "no_proxy": "*",
        "SSL_CERT_DIR": "/etc/ssl",
    }
    environment = session_environment(
        inherited, proxy_url="http://127.0.0.1:1", ca_file="/tmp/ca.pem"
    )
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        assert environment[name] == "http://127.0.0.1:1"
    assert not {"NO_PROXY", "no_proxy", "SSL_CERT_DIR"} & set(environment)
    assert environment["SSL_CERT_FILE"] == "/tmp/ca.pem"
