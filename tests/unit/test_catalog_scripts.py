"""Programs of the recipes', run as their services would run them."""

from __future__ import annotations

import base64
import http.server
import json
import os
import queue
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ronron.catalog.recipe import builtin_folder

RECIPES = builtin_folder()
AWKWARD = "a 'quoted\" $word\\ & ? €"
MAIL = {
    "MAIL_HOST": "relay.example.org",
    "MAIL_PORT": "587",
    "MAIL_SECURITY": "starttls",
    "MAIL_USER": "site",
    "MAIL_FROM": "site@example.org",
}
NO_MAIL = {**dict.fromkeys(MAIL, ""), "MAIL_PORT": "25", "MAIL_SECURITY": "starttls"}

needs_php = pytest.mark.skipif(not shutil.which("php"), reason="there is no PHP")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder of secrets as a service sees them."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for name in ("admin_password", "db_password", "mail_password"):
        (folder / name).write_text(f"{name} {AWKWARD}")
    return folder


def run(argv: list[object], cwd: Path, **environment: str) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def exported(recipe: str, secrets: Path, tmp_path: Path, **environment: str) -> dict[str, str]:
    """The variables that a recipe's `with-settings.sh` leaves to the program that it starts."""
    source = (RECIPES / recipe / "with-settings.sh").read_text("utf-8")
    script = tmp_path / "with-settings.sh"
    script.write_text(source.replace("/run/secrets", str(secrets)))
    shell = "bash" if source.startswith("#!/bin/bash") else "sh"
    lines = run([shell, script, "env", "-0"], tmp_path, **environment).split("\0")
    return dict(line.split("=", 1) for line in lines if line)


# Joomla's configuration is a class, which is written anew.

JOOMLA = """<?php
class JConfig {
	public $sitename = 'It\\'s ours';
	public $password = 'old';
	public $mailonline = true;
	public $mailer = 'mail';
	public $mailfrom = 'cat@example.org';
	public $smtpauth = false;
	public $smtpuser = '';
	public $smtppass = '';
	public $smtphost = 'localhost';
	public $smtpsecure = 'none';
	public $smtpport = 25;
}
"""


def joomla(folder: Path, secrets: Path, **environment: str) -> dict[str, object]:
    run(["php", RECIPES / "joomla" / "settings.php", folder, secrets], folder, **environment)
    code = "require $argv[1]; echo json_encode(new JConfig());"
    read: dict[str, object] = json.loads(
        run(["php", "-r", code, folder / "configuration.php"], folder)
    )
    return read


@needs_php
def test_joomla_gets_the_databases_password_and_the_relay(tmp_path: Path, secrets: Path) -> None:
    (tmp_path / "configuration.php").write_text(JOOMLA)
    settings = joomla(tmp_path, secrets, **MAIL)
    assert settings["password"] == f"db_password {AWKWARD}"
    assert settings["smtppass"] == f"mail_password {AWKWARD}"
    assert settings["sitename"] == "It's ours"
    assert (settings["mailer"], settings["smtphost"], settings["smtpport"]) == (
        "smtp",
        "relay.example.org",
        587,
    )
    assert (settings["smtpsecure"], settings["smtpauth"]) == ("tls", True)
    assert settings["mailfrom"] == "site@example.org"
    assert (tmp_path / "configuration.php").stat().st_mode & 0o077 == 0


@needs_php
def test_joomlas_mail_is_its_own_without_a_relay(tmp_path: Path, secrets: Path) -> None:
    (tmp_path / "configuration.php").write_text(JOOMLA)
    settings = joomla(tmp_path, secrets, **NO_MAIL)
    assert (settings["mailer"], settings["mailfrom"]) == ("mail", "cat@example.org")
    before = (tmp_path / "configuration.php").stat().st_mtime_ns
    assert joomla(tmp_path, secrets, **NO_MAIL) == settings
    assert (tmp_path / "configuration.php").stat().st_mtime_ns == before


@needs_php
def test_a_joomla_that_is_not_set_up_is_left_alone(tmp_path: Path, secrets: Path) -> None:
    run(["php", RECIPES / "joomla" / "settings.php", tmp_path, secrets], tmp_path, **MAIL)
    assert not (tmp_path / "configuration.php").exists()


@needs_php
@pytest.mark.parametrize(("security", "name"), [("tls", "ssl"), ("none", "none")])
def test_joomlas_names_of_encryption(
    tmp_path: Path, secrets: Path, security: str, name: str
) -> None:
    (tmp_path / "configuration.php").write_text(JOOMLA)
    mail = {**MAIL, "MAIL_SECURITY": security, "MAIL_USER": ""}
    settings = joomla(tmp_path, secrets, **mail)
    assert (settings["smtpsecure"], settings["smtpauth"], settings["smtppass"]) == (name, False, "")


# PeerTube's settings are variables.


def test_peertube_sends_mail_where_a_relay_is_named_alone(tmp_path: Path, secrets: Path) -> None:
    (secrets / "app_secret").write_text("secret")
    without = exported("peertube", secrets, tmp_path, **NO_MAIL)
    assert without["PEERTUBE_DB_PASSWORD"] == f"db_password {AWKWARD}"
    assert without["PT_INITIAL_ROOT_PASSWORD"] == f"admin_password {AWKWARD}"
    assert not [name for name in without if name.startswith("PEERTUBE_SMTP")]
    found = exported("peertube", secrets, tmp_path, **MAIL)
    assert found["PEERTUBE_SMTP_HOSTNAME"] == "relay.example.org"
    assert found["PEERTUBE_SMTP_PASSWORD"] == f"mail_password {AWKWARD}"
    assert (found["PEERTUBE_SMTP_TLS"], found["PEERTUBE_SMTP_DISABLE_STARTTLS"]) == (
        "false",
        "false",
    )
    tls = exported("peertube", secrets, tmp_path, **{**MAIL, "MAIL_SECURITY": "tls"})
    assert tls["PEERTUBE_SMTP_TLS"] == "true"


# Rocket.Chat's database is told by mongosh, which runs nowhere here: Node with its two words does.

MONGOSH = """
const events = []
const root = process.env.IS_PASSWORD
globalThis.connect = (uri) => {
  const given = decodeURIComponent(uri.match(/^mongodb:..root:(.*)@127.0.0.1:27017/)[1])
  const refused = Object.assign(new Error(`not ${given}`), { codeName: 'AuthenticationFailed' })
  if (given !== root) throw refused
  return {
    getSiblingDB: (name) => ({ updateUser: (user, to) => events.push([name, user, to.pwd]) }),
    adminCommand: (command) => {
      events.push(command)
      const code = process.env.STATUS
      if (command.replSetGetStatus && code) throw Object.assign(new Error(code), { codeName: code })
    },
  }
}
process.on('exit', () => console.log(JSON.stringify(events)))
require(process.argv[2])
"""

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="there is no Node")


def mongosh(name: str, secrets: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    source = (RECIPES / "rocketchat" / name).read_text("utf-8")
    script = secrets.parent / name
    script.write_text(source.replace("/run/secrets", str(secrets)))
    (secrets / "db_root_password").write_text(f"root {AWKWARD}")
    node = shutil.which("node") or "node"
    (secrets.parent / "mongosh.js").write_text(MONGOSH)
    return subprocess.run(
        [node, secrets.parent / "mongosh.js", script],
        env={"PATH": "/usr/bin:/bin", "IS_PASSWORD": f"root {AWKWARD}", **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


@needs_node
def test_rocketchats_database_gets_a_new_password(secrets: Path) -> None:
    user = {"CHANGED_USER": "rocketchat", "CHANGED_DATABASE": "rocketchat"}
    done = mongosh(
        "change-password.js", secrets, **user, OLD_PASSWORD="old", NEW_PASSWORD=f"new {AWKWARD}"
    )
    assert json.loads(done.stdout) == [["rocketchat", "rocketchat", f"new {AWKWARD}"]]


@needs_node
@pytest.mark.parametrize("changed_already", [False, True])
def test_the_root_of_rocketchats_database_gets_a_new_password_twice(
    secrets: Path, changed_already: bool
) -> None:
    old, new = f"old {AWKWARD}", f"new {AWKWARD}"
    done = mongosh(
        "change-password.js",
        secrets,
        CHANGED_USER="root",
        CHANGED_DATABASE="admin",
        OLD_PASSWORD=old,
        NEW_PASSWORD=new,
        IS_PASSWORD=new if changed_already else old,
    )
    assert json.loads(done.stdout) == [["admin", "root", new]]


@needs_node
def test_what_rocketchats_database_says_shows_no_password(secrets: Path) -> None:
    user = {"CHANGED_USER": "root", "CHANGED_DATABASE": "admin"}
    done = mongosh(
        "change-password.js", secrets, **user, OLD_PASSWORD="an-old-one", NEW_PASSWORD="a-new-one"
    )
    assert done.returncode == 1
    assert done.stderr == "change-password.sh: AuthenticationFailed\n"
    assert done.stdout == "[]\n"


@needs_node
def test_rocketchats_database_becomes_a_replica_set_once(secrets: Path) -> None:
    done = mongosh("replica-set.js", secrets, STATUS="NotYetInitialized")
    assert [next(iter(command)) for command in json.loads(done.stdout)] == [
        "replSetGetStatus",
        "replSetInitiate",
    ]
    done = mongosh("replica-set.js", secrets)
    assert [next(iter(command)) for command in json.loads(done.stdout)] == ["replSetGetStatus"]
    assert mongosh("replica-set.js", secrets, STATUS="Unauthorized").returncode != 0


@needs_node
def test_change_password_hands_both_lines_to_mongosh(tmp_path: Path) -> None:
    (tmp_path / "mongosh").write_text('#!/bin/sh\necho "$*"\nenv -0\n')
    (tmp_path / "mongosh").chmod(0o755)
    done = subprocess.run(
        ["bash", RECIPES / "rocketchat" / "change-password.sh", "rocketchat", "rocketchat"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        input=f"old {AWKWARD}\nnew {AWKWARD}\n",
        capture_output=True,
        text=True,
        timeout=30,
    )
    arguments, _, variables = done.stdout.partition("\n")
    assert arguments == "--nodb --quiet /change-password.js"
    assert f"OLD_PASSWORD=old {AWKWARD}" in variables.split("\0")
    assert f"NEW_PASSWORD=new {AWKWARD}" in variables.split("\0")


def test_rocketchat_sends_mail_where_a_relay_is_named_alone(tmp_path: Path, secrets: Path) -> None:
    (secrets / "db_password").write_text("Abc123")
    without = exported("rocketchat", secrets, tmp_path, **NO_MAIL)
    assert without["MONGO_URL"].startswith("mongodb://rocketchat:Abc123@db:27017/rocketchat?")
    assert without["ADMIN_PASS"] == f"admin_password {AWKWARD}"
    assert not [name for name in without if "SMTP" in name]
    found = exported("rocketchat", secrets, tmp_path, **MAIL)
    assert found["OVERWRITE_SETTING_SMTP_Password"] == f"mail_password {AWKWARD}"
    assert found["OVERWRITE_SETTING_SMTP_Protocol"] == "smtp"
    assert found["OVERWRITE_SETTING_SMTP_IgnoreTLS"] == "false"
    tls = exported("rocketchat", secrets, tmp_path, **{**MAIL, "MAIL_SECURITY": "tls"})
    assert tls["OVERWRITE_SETTING_SMTP_Protocol"] == "smtps"
    user = exported("rocketchat", secrets, tmp_path, **{**MAIL, "MAIL_USER": ""})
    assert user["OVERWRITE_SETTING_SMTP_Password"] == ""


# PrestaShop is set up by programs of the recipe's: upstream's own want to be root.

PARAMETERS = (
    """<?php return ['parameters' => ['database_password' => 'old', 'secret' => "it's"]];"""
)
TABLE = """
CREATE TABLE ps_configuration (
    id_configuration INTEGER PRIMARY KEY, id_shop_group INTEGER, id_shop INTEGER,
    name TEXT, value TEXT, date_add TEXT, date_upd TEXT
);
INSERT INTO ps_configuration (name, value) VALUES ('PS_MAIL_METHOD', '3'), ('PS_LOGO', 'a.png');
"""

needs_php_and_sqlite = pytest.mark.skipif(
    not shutil.which("php")
    or "pdo_sqlite" not in subprocess.run(["php", "-m"], capture_output=True, text=True).stdout,
    reason="there is no PHP with SQLite",
)


def prestashop(shop: Path, secrets: Path, **environment: str) -> tuple[str, dict[str, str]]:
    """The password in PrestaShop's parameters and its settings, after a start."""
    database = shop / "shop.sqlite"
    run(
        ["php", RECIPES / "prestashop" / "settings.php"],
        shop,
        SHOP=str(shop),
        SECRETS=str(secrets),
        DATABASE=f"sqlite:{database}",
        **environment,
    )
    code = "echo json_encode(require $argv[1]);"
    parameters = json.loads(run(["php", "-r", code, shop / "app/config/parameters.php"], shop))
    assert parameters["parameters"]["secret"] == "it's"
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT name, value FROM ps_configuration").fetchall()
    assert len(rows) == len(dict(rows))
    return parameters["parameters"]["database_password"], dict(rows)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "app" / "config").mkdir(parents=True)
    (tmp_path / "app" / "config" / "parameters.php").write_text(PARAMETERS)
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        connection.executescript(TABLE)
    return tmp_path


@needs_php_and_sqlite
def test_prestashop_gets_the_databases_password_and_the_relay(shop: Path, secrets: Path) -> None:
    for _ in range(2):
        password, settings = prestashop(shop, secrets, **MAIL)
        assert password == f"db_password {AWKWARD}"
        assert settings == {
            "PS_LOGO": "a.png",
            "PS_MAIL_METHOD": "2",
            "PS_MAIL_SERVER": "relay.example.org",
            "PS_MAIL_SMTP_PORT": "587",
            "PS_MAIL_SMTP_ENCRYPTION": "tls",
            "PS_MAIL_USER": "site",
            "PS_MAIL_PASSWD": f"mail_password {AWKWARD}",
            "PS_SHOP_EMAIL": "site@example.org",
        }


@needs_php_and_sqlite
def test_prestashops_mail_is_its_own_without_a_relay(shop: Path, secrets: Path) -> None:
    password, settings = prestashop(shop, secrets, **NO_MAIL)
    assert password == f"db_password {AWKWARD}"
    assert settings == {"PS_LOGO": "a.png", "PS_MAIL_METHOD": "3"}


@needs_php
def test_prestashops_installer_gets_its_arguments_from_within(
    tmp_path: Path, secrets: Path
) -> None:
    (tmp_path / "install").mkdir()
    (tmp_path / "install" / "index_cli.php").write_text(
        "<?php echo json_encode([$argc, $argv, file_get_contents('/proc/self/cmdline')]); exit(0);"
    )
    count, arguments, seen = json.loads(
        run(
            ["php", RECIPES / "prestashop" / "install.php"],
            tmp_path,
            SHOP=str(tmp_path),
            SECRETS=str(secrets),
            DOMAIN="shop.example.org",
        )
    )
    assert count == len(arguments)
    assert "--domain=shop.example.org" in arguments
    assert f"--db_password=db_password {AWKWARD}" in arguments
    assert f"--password=admin_password {AWKWARD}" in arguments
    assert AWKWARD not in seen


def test_prestashop_is_set_up_once_and_again_when_it_was_interrupted(tmp_path: Path) -> None:
    source, shop, programs = tmp_path / "source", tmp_path / "html", tmp_path / "bin"
    for folder in (source / "admin", source / "install", source / "modules", shop, programs):
        folder.mkdir(parents=True)
    (source / "index.php").touch()
    log = tmp_path / "log"
    (programs / "php").write_text(f'#!/bin/sh\necho "$*" >> {log}\n[ ! -e {tmp_path}/broken ]\n')
    (programs / "php").chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as database:
        script = tmp_path / "start.sh"
        text = (RECIPES / "prestashop" / "start.sh").read_text("utf-8")
        script.write_text(text.replace("3306", str(database.getsockname()[1])))

        def start(folder: str = "backoffice") -> int:
            return subprocess.run(
                ["bash", script, "sh", "-c", "exit 7"],
                env={
                    "PATH": f"{programs}:/usr/bin:/bin",
                    "SHOP": str(shop),
                    "SOURCE": str(source),
                    "ADMIN_FOLDER": folder,
                    "DB_SERVER": "127.0.0.1",
                },
                timeout=30,
                check=False,
            ).returncode

        assert start("modules") == 1
        (tmp_path / "broken").touch()
        assert start() == 1
        assert (shop / "install").is_dir()
        (tmp_path / "broken").unlink()
        assert start() == 7
        assert not (shop / "install").exists()
        assert (shop / "backoffice").is_dir()
        assert not (shop / "admin").exists()
        assert start() == 7
        assert start("elsewhere") == 1
    installed = "-d memory_limit=-1 /install.php"
    assert log.read_text().splitlines() == [
        installed,
        installed,
        "/settings.php",
        "/settings.php",
    ]


# ownCloud


def test_owncloud_sends_mail_where_a_relay_is_named_alone(tmp_path: Path, secrets: Path) -> None:
    without = exported("owncloud", secrets, tmp_path, **NO_MAIL)
    assert without["OWNCLOUD_DB_PASSWORD"] == f"db_password {AWKWARD}"
    assert without["OWNCLOUD_ADMIN_PASSWORD"] == f"admin_password {AWKWARD}"
    assert not [name for name in without if name.startswith("OWNCLOUD_MAIL")]
    found = exported("owncloud", secrets, tmp_path, **MAIL)
    assert {
        name[14:]: text for name, text in found.items() if name.startswith("OWNCLOUD_MAIL")
    } == {
        "SMTP_MODE": "smtp",
        "SMTP_HOST": "relay.example.org",
        "SMTP_PORT": "587",
        "SMTP_SECURE": "tls",
        "SMTP_AUTH": "true",
        "SMTP_AUTH_TYPE": "LOGIN",
        "SMTP_NAME": "site",
        "SMTP_PASSWORD": f"mail_password {AWKWARD}",
        "FROM_ADDRESS": "site",
        "DOMAIN": "example.org",
    }
    plain = {**MAIL, "MAIL_SECURITY": "none", "MAIL_USER": ""}
    assert not {"OWNCLOUD_MAIL_SMTP_SECURE", "OWNCLOUD_MAIL_SMTP_PASSWORD"} & set(
        exported("owncloud", secrets, tmp_path, **plain)
    )


@pytest.mark.parametrize("status", ["success", "error"])
def test_ownclouds_jobs_give_a_sign_of_life_when_they_succeed(tmp_path: Path, status: str) -> None:
    asked: queue.Queue[str] = queue.Queue()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.put(f"{self.headers['Host']}{self.path}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"status": status}).replace(" ", "").encode())

        def log_message(self, *_: object) -> None:
            pass

    succeeded = tmp_path / "succeeded"
    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        loop = subprocess.Popen(
            ["sh", RECIPES / "owncloud" / "cron-loop.sh"],
            env={
                "PATH": "/usr/bin:/bin",
                "DOMAIN": "cloud.example.org",
                "WEB": f"127.0.0.1:{server.server_port}",
                "PAUSE": "0.1",
                "SUCCEEDED": str(succeeded),
            },
        )
        # What the first call left is there when the next is made.
        assert {asked.get(timeout=20) for _ in range(2)} == {"cloud.example.org/cron.php"}
        assert succeeded.exists() is (status == "success")
        loop.terminate()
        assert loop.wait(timeout=20) == 0
        server.shutdown()


# Invoice Ninja


def test_invoice_ninja_sends_mail_where_a_relay_is_named_alone(
    tmp_path: Path, secrets: Path
) -> None:
    (secrets / "app_key").write_text("0123456789abcdefghijklmnopqrstuv\n")
    without = exported("invoiceninja", secrets, tmp_path, **NO_MAIL)
    assert without["DB_PASSWORD"] == f"db_password {AWKWARD}"
    key = without["APP_KEY"].removeprefix("base64:")
    assert base64.b64decode(key) == b"0123456789abcdefghijklmnopqrstuv"
    assert without["MAIL_MAILER"] == "log"
    assert "MAIL_HOST" not in without
    found = exported("invoiceninja", secrets, tmp_path, **MAIL)
    assert (found["MAIL_MAILER"], found["MAIL_HOST"]) == ("smtp", "relay.example.org")
    assert (found["MAIL_USERNAME"], found["MAIL_ENCRYPTION"]) == ("site", "tls")
    assert found["MAIL_PASSWORD"] == f"mail_password {AWKWARD}"
    exported(
        "invoiceninja", secrets, tmp_path, **{**MAIL, "MAIL_SECURITY": "tls", "MAIL_PORT": "465"}
    )
    with pytest.raises(AssertionError, match="465"):
        exported("invoiceninja", secrets, tmp_path, **{**MAIL, "MAIL_SECURITY": "tls"})


@needs_php
def test_fpm_ping_hears_whether_php_answers(tmp_path: Path) -> None:
    programs = sorted(Path("/usr/sbin").glob("php-fpm*"))
    if not programs:
        pytest.skip("there is no PHP-FPM")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ping = ["php", str(RECIPES / "invoiceninja" / "fpm-ping.php"), f"127.0.0.1:{port}"]
    assert subprocess.run(ping, timeout=30, check=False).returncode == 1
    own = (RECIPES / "invoiceninja" / "fpm.conf").read_text("utf-8")
    (tmp_path / "fpm.conf").write_text(
        f"[global]\nerror_log = {tmp_path}/log\n[www]\nlisten = 127.0.0.1:{port}\n"
        f"user = www-data\ngroup = www-data\npm = static\npm.max_children = 1\n{own}"
    )
    root = ["-R"] if os.geteuid() == 0 else []
    fpm = subprocess.Popen([programs[0], "-F", "-y", tmp_path / "fpm.conf", *root])
    try:
        deadline = time.monotonic() + 30
        while subprocess.run(ping, timeout=30, check=False).returncode != 0:
            assert fpm.poll() is None
            assert time.monotonic() < deadline
    finally:
        fpm.terminate()
        fpm.wait(timeout=20)


def test_invoice_ninja_is_set_up_once(tmp_path: Path, secrets: Path) -> None:
    shop, programs = tmp_path / "html", tmp_path / "bin"
    for folder in (shop / "public", shop / "storage", tmp_path / "new", programs):
        folder.mkdir(parents=True)
    (shop / "VERSION.txt").write_text("5.13.53")
    (shop / "public" / "old").touch()
    (tmp_path / "new" / "index.php").touch()
    log = tmp_path / "log"
    (programs / "php").write_text(
        f'#!/bin/bash\necho "$*" >> {log}\n'
        f'case "$*" in *Account::first*) cat {tmp_path}/account ;; esac\n'
        f'case "$*" in *create-account*) printf %s "$IN_PASSWORD" > {tmp_path}/password ;; esac\n'
    )
    (programs / "php").chmod(0o755)
    (tmp_path / "account").write_text("none")
    with socket.create_server(("127.0.0.1", 0)) as database:
        script = tmp_path / "start.sh"
        text = (RECIPES / "invoiceninja" / "start.sh").read_text("utf-8")
        for old, new in (
            ("/var/www/html", shop),
            ("/tmp/public", tmp_path / "new"),  # noqa: S108 - the image's
            ("/run/secrets", secrets),
        ):
            text = text.replace(old, str(new))
        script.write_text(text)
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(database.getsockname()[1]),
        }
        argv = ["bash", str(script), "sh", "-c", "test -z ${IN_PASSWORD:-} && exit 7"]
        assert subprocess.run(argv, env=environment, timeout=30, check=False).returncode == 7
        assert (tmp_path / "password").read_text() == f"admin_password {AWKWARD}"
        assert AWKWARD not in log.read_text()
        assert sorted(path.name for path in (shop / "public").iterdir()) == [
            ".version",
            "index.php",
        ]
        (tmp_path / "account").write_text("there")
        log.unlink()
        assert subprocess.run(argv, env=environment, timeout=30, check=False).returncode == 7
        assert "create-account" not in log.read_text()
        assert "artisan migrate --force" in log.read_text()


@pytest.mark.parametrize("works", [True, False])
def test_invoice_ninjas_worker_gives_a_sign_of_life_when_it_succeeds(
    tmp_path: Path, works: bool
) -> None:
    (tmp_path / "php").write_text(f"#!/bin/sh\necho run\nexit {0 if works else 1}\n")
    (tmp_path / "php").chmod(0o755)
    text = (RECIPES / "invoiceninja" / "loop.sh").read_text("utf-8")
    text = text.replace("/var/www/html", str(tmp_path))
    text = text.replace("/var/tmp", str(tmp_path))  # noqa: S108 - the service's
    (tmp_path / "loop.sh").write_text(text.replace("pause=2", "pause=0.1"))
    loop = subprocess.Popen(
        ["bash", tmp_path / "loop.sh", "worker"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert loop.stdout is not None
    assert [loop.stdout.readline() for _ in range(2)] == ["run\n", "run\n"]
    assert (tmp_path / "succeeded").exists() is works
    loop.terminate()
    assert loop.wait(timeout=20) == 0


# The recipes that hand a relay to their program by variables.

RELAY_VARIABLES = {
    "forgejo": ("FORGEJO__mailer__SMTP_ADDR", "FORGEJO__mailer__USER", "FORGEJO__mailer__PROTOCOL"),
    "nextcloud": ("SMTP_HOST", "SMTP_NAME", "SMTP_SECURE"),
    "n8n": ("N8N_SMTP_HOST", "N8N_SMTP_USER", "N8N_SMTP_SSL"),
}
ENCRYPTIONS: dict[str, dict[str, str | None]] = {
    "forgejo": {"tls": "smtps", "starttls": "smtp+starttls", "none": "smtp"},
    "nextcloud": {"tls": "ssl", "starttls": None, "none": None},
    "n8n": {"tls": "true", "starttls": "false", "none": "false"},
}


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
@pytest.mark.parametrize("recipe", RELAY_VARIABLES)
def test_a_relay_by_variables(tmp_path: Path, secrets: Path, recipe: str, security: str) -> None:
    host, user, encryption = RELAY_VARIABLES[recipe]
    given = {**MAIL, "MAIL_SECURITY": security, host: "relay.example.org"}
    if recipe == "nextcloud":
        given |= {"OVERWRITEHOST": "cloud.example.org", "MAIL_FROM_ADDRESS": "a@example.org"}
    found = exported(recipe, secrets, tmp_path, **given)
    assert (found[host], found[user]) == ("relay.example.org", "site")
    assert found.get(encryption) == ENCRYPTIONS[recipe][security]
    named = [value for name, value in found.items() if name.endswith("_FILE") and "PASS" in name]
    assert str(secrets / "mail_password") in named
    given["MAIL_USER"] = ""
    (secrets / "mail_password").unlink()
    without = exported(recipe, secrets, tmp_path, **given)
    assert not without.get(user)
    assert not [v for n, v in without.items() if n.endswith("_FILE") and "mail_password" in v]
