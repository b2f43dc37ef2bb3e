"""The programs beside ronron: the key fetcher that is sent to servers, and Ansible."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import resources
from pathlib import Path

import pytest

from ronron.errors import OperatorError, ServerError
from ronron.servers import playbooks
from ronron.servers.local import LocalRunner
from ronron.servers.provision.fetch_key import fingerprint
from serving import serving

# Made with gpg for this test; the fingerprint is what gpg prints.
KEY = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----
Comment: made for a test

mDMEawNJtxYJKwYBBAHaRw8BAQdAzCfmquUQpHXkSa5cc9J1tppavpUHg/sF0b9G
smtV1vC0HnJvbnJvbiB0ZXN0IDx0ZXN0QGV4YW1wbGUub3JnPoiQBBMWCAA4FiEE
kJM8JrQr1+LM3XLHOi8cD6Sc8SAFAmsDSbcCGwMFCwkIBwIGFQoJCAsCBBYCAwEC
HgECF4AACgkQOi8cD6Sc8SA7NAD+LVGMc5KN/kUgAYS9tuSBk9iybIcBbVR6WTjT
gsWqOSYBAKT2opI79+fIK+8RVfv1lZngsTS1NPJk1k8Ii83aAPwF
=lV6c
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "90933C26B42BD7E2CCDD72C73A2F1C0FA49CF120"


@pytest.fixture
def url() -> Iterator[str]:
    """Where KEY is served."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(KEY.encode())

        def log_message(self, format: str, *args: object) -> None: ...

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield f"http://127.0.0.1:{server.server_port}/gpg"


def fetch(url: str, path: Path, expected: str) -> None:
    script = resources.files("ronron.servers.provision").joinpath("fetch_key.py").read_bytes()
    LocalRunner().run(["python3", "-", url, str(path), expected], stdin=script)


def test_a_keys_fingerprint_is_what_gpg_says() -> None:
    assert fingerprint(KEY) == FINGERPRINT
    assert fingerprint(KEY.replace("Comment: made for a test\n", "")) == FINGERPRINT
    assert fingerprint(KEY.replace("\n", "\r\n")) == FINGERPRINT


def test_a_key_with_the_right_fingerprint_is_kept(url: str, tmp_path: Path) -> None:
    fetch(url, tmp_path / "key.asc", FINGERPRINT)
    assert (tmp_path / "key.asc").read_text() == KEY


def test_another_key_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ServerError) as refused:
        fetch(url, tmp_path / "key.asc", "0" * 40)
    assert f"the key's fingerprint is {FINGERPRINT}" in refused.value.details[-1]
    assert list(tmp_path.iterdir()) == []


def test_without_ansible_the_remedy_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(OperatorError, match=r"Ansible is not installed .*ronron\[ansible\]"):
        playbooks.ansible_playbook()


def test_ansibles_summary_is_read() -> None:
    line = "worker-1   : ok=3    changed=2    unreachable=0    failed=0    skipped=0"
    assert playbooks.recap(line) == ("worker-1", 2)
    assert playbooks.recap("ok: [worker-1]") is None
