"""Writes Synapse's configuration from the variables and the secrets, then becomes Synapse.

`python3 with_settings.py COMMAND…`. The file is in memory (SYNAPSE_CONFIG_PATH), and for its user
alone. Works in the upstream image, and wherever Synapse is a Python package.
"""

import json
import os
import subprocess
import sys
from pathlib import Path


def secret(name: str) -> str:
    """The value of one of the app's secrets."""
    return Path("/run/secrets", name).read_text("utf-8").strip()


def settings(environment: "os._Environ[str]") -> dict[str, object]:
    """The configuration, as Synapse's manual describes it."""
    resources = ["client", "federation"] if environment["FEDERATION"] == "true" else ["client"]
    found: dict[str, object] = {
        "server_name": environment["SERVER_NAME"],
        "public_baseurl": f"https://{environment['DOMAIN']}/",
        "pid_file": "/tmp/homeserver.pid",  # noqa: S108 - a container's own
        "listeners": [
            {
                "port": 8008,
                "type": "http",
                "tls": False,
                "x_forwarded": True,
                "bind_addresses": ["0.0.0.0"],  # noqa: S104 - the proxy is on the network
                "resources": [{"names": resources, "compress": False}],
            }
        ],
        "database": {
            "name": "psycopg2",
            "args": {
                "host": environment.get("DATABASE_HOST", "db"),
                "user": "synapse",
                "dbname": "synapse",
                "password": secret("db_password"),
                "cp_min": 2,
                "cp_max": 10,
            },
        },
        "media_store_path": "/data/media_store",
        "signing_key_path": "/data/signing.key",
        "max_upload_size": environment["UPLOAD_SIZE"],
        "admin_contact": f"mailto:{environment['CONTACT']}",
        "registration_shared_secret": secret("registration_secret"),
        "macaroon_secret_key": secret("macaroon_secret_key"),
        "form_secret": secret("form_secret"),
        "enable_registration": False,
        "report_stats": False,
        "serve_server_wellknown": True,
        "suppress_key_server_warning": True,
        "trusted_key_servers": [{"server_name": "matrix.org"}],
    }
    if environment["FEDERATION"] != "true":
        found["federation_domain_whitelist"] = []
    if environment["MAIL_HOST"]:
        security, user = environment["MAIL_SECURITY"], environment["MAIL_USER"]
        found["email"] = {
            "smtp_host": environment["MAIL_HOST"],
            "smtp_port": int(environment["MAIL_PORT"]),
            "notif_from": environment["MAIL_FROM"] or f"Matrix <matrix@{environment['DOMAIN']}>",
            "force_tls": security == "tls",
            "require_transport_security": security == "starttls",
            "enable_tls": security != "none",
            **({"smtp_user": user, "smtp_pass": secret("mail_password")} if user else {}),
        }
    return found


def main() -> None:
    """Write the file, make the signing key if there is none, and run the command."""
    path = os.environ["SYNAPSE_CONFIG_PATH"]
    Path(path).unlink(missing_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(settings(os.environ), file)  # JSON is YAML
    synapse = [sys.executable, "-m", "synapse.app.homeserver", "--config-path", path]
    subprocess.run([*synapse, "--generate-keys"], check=True)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - an argument list


main()
