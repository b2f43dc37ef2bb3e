"""Logs on real servers: found at once, none lost while the store is away, deleted in time."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from e2e.cloud import Operator, another_server, ask, eventually
from ronron import lab
from ronron.servers import shipping
from ronron.servers.provision import requests
from ronron.site import yamltext
from ronron.site.yamltext import Change

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("hi")]

FOUND = 10
"""Seconds within which a line is found."""
LINES = 10_000
VOLUME = "/srv/ronron/volumes/logs"

# Writes lines into the journal, as programs do, at a rate of so many a second.
STORM = """
import socket, sys, time
tag, count, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect("/run/systemd/journal/socket")
began = time.monotonic()
for number in range(count):
    line = "SYSLOG_IDENTIFIER=storm\\nPRIORITY=6\\nMESSAGE=%s number %d\\n" % (tag, number)
    journal.send(line.encode())
    early = began + number / rate - time.monotonic()
    if early > 0.01:
        time.sleep(early)
"""

# Asks for what only scanners look for, and says from which address.
SCAN = """
import http.client, socket, ssl, sys
ip, name = sys.argv[1:]
context = ssl._create_unverified_context()
for number in range(4):
    raw = socket.create_connection((ip, 443), 5)
    own = raw.getsockname()[0]
    connection = http.client.HTTPSConnection(name, context=context)
    connection.sock = context.wrap_socket(raw, server_hostname=name)
    connection.request("GET", "/.env")
    answer = connection.getresponse()
    answer.read()
    print(own, answer.status, flush=True)
"""

# What the servers do when the newest file of the access log is large: each is, here.
ROTATE = """
import sys
from pathlib import Path
sys.path.insert(0, "/usr/local/lib/ronron")
import rotate
rotate.SIZE = 1
rotate.main()
"""

# Asks the gate as a server does, with its certificate or without one.
ASK = """
import http.client, ssl, sys
folder = "/etc/rsyslog.d/ronron"
context = ssl.create_default_context(cafile=folder + "/ca.pem")
if len(sys.argv) > 2:
    context.load_cert_chain(folder + "/client.pem", folder + "/client.key")
connection = http.client.HTTPSConnection("logs.ronron.internal", 9428, timeout=10, context=context)
try:
    connection.request("GET", sys.argv[1])
    print(connection.getresponse().status)
except OSError as error:
    print(type(error).__name__)
"""


def write(operator: Operator, file: str, *keys: str, value: Any) -> None:
    path = operator.folder / file
    path.write_text(yamltext.apply(path.read_text(), [Change(keys, value)], file))


@pytest.fixture(scope="module")
def logged(operator: Operator) -> Iterator[Operator]:
    """An operator whose site has a log store, and whose servers send to it."""
    site = (operator.folder / "ronron.yml").read_text()
    _, err = operator.ronron("deploy", "logs", "--yes", "--timeout", "900")
    assert "from the next ronron apply on" in err
    operator.ronron("apply", "--yes")
    try:
        yield operator
    finally:
        (operator.folder / "ronron.yml").write_text(site)
        operator.ronron("remove", "logs", "--delete-data", "--yes")
        operator.ronron("apply", "--yes")


def lines(operator: Operator, *arguments: str) -> list[dict[str, Any]]:
    """What `ronron logs …` prints; it must come from the store."""
    out, err = operator.ronron("logs", *arguments, "--json")
    assert "without it" not in err, err
    return [json.loads(line) for line in out.splitlines()]


def inside(operator: Operator, kind: str, *argv: str) -> str:
    """Run a command in the container of a class' store."""
    found = "docker ps --quiet --filter health=healthy --filter name=logs_" + kind
    script = f'docker exec "$({found})" "$@"'
    return operator.on("manager", "sh", "-c", script, "sh", *argv)


def counted(operator: Operator, tag: str) -> tuple[int, int]:
    """How many lines of a storm the store has, and how many different ones."""
    query = f'query=_msg:"{tag}" | stats count() lines, count_uniq(_msg) different'
    url = "http://127.0.0.1:9428/system/select/logsql/query"
    found = json.loads(inside(operator, "system", "wget", "-qO-", "--post-data", query, url))
    return int(found["lines"]), int(found["different"])


def test_a_request_is_found_by_its_path(logged: Operator) -> None:
    path = f"/{uuid.uuid4().hex}"
    assert ask(logged, "hi", f"{path}?a=1").status == 200
    (line,) = eventually(lambda: lines(logged, "--access", "hi", "--search", path), FOUND)
    assert (line["app"], line["path"], line["status"]) == ("hi", f"{path}?a=1", "200")
    assert line["server"] == "manager"
    assert int(line["duration"]) >= 0
    # All fields of a status, and nothing of what was typed is taken for a pattern.
    assert len(lines(logged, "--access", "hi", "--status", "2xx", "--search", path)) == 1
    assert lines(logged, "--access", "hi", "--status", "5xx", "--search", path) == []
    assert lines(logged, "--access", "hi", "--search", '" or app:*') == []
    _, err = logged.ronron("logs", "--access", "hi", "--search", "nobody asked for this")
    assert "no such lines" in err
    _, err = logged.ronron("logs", "hi", "wbe", status=2)
    assert "hi has no service wbe (it has: web)" in err


def test_a_request_that_is_sent_on_to_https_is_found_too(logged: Operator) -> None:
    path, ip = f"/{uuid.uuid4().hex}", logged.lab.server("manager").ip
    with closing(http.client.HTTPConnection(ip, 80, timeout=10)) as connection:
        connection.request("GET", path, headers={"Host": f"hi.{logged.lab.domain}"})
        assert connection.getresponse().status == 301
    (line,) = eventually(lambda: lines(logged, "--access", "proxy", "--search", path), FOUND)
    assert (line["host"], line["status"]) == (f"hi.{logged.lab.domain}", "301")
    # What asks the proxy how it is is none.
    assert lines(logged, "--access", "proxy", "--search", "/ping") == []
    assert lines(logged, "--access", "proxy", "--search", "/metrics") == []


def test_lines_are_followed_as_they_come(logged: Operator) -> None:
    early, late = uuid.uuid4().hex, uuid.uuid4().hex
    assert ask(logged, "hi", f"/{early}").status == 200
    eventually(lambda: lines(logged, "--access", "hi", "--search", early), FOUND)
    # Programs take this over where it is ignored, as below a shell's background jobs.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = logged.start("logs", "--access", "hi", "--follow", "--since", "1m", "--json")
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    said: list[str] = []
    reading = threading.Thread(target=said.extend, args=(process.stdout,))
    reading.start()

    def come(path: str) -> bool:
        return any(path in line for line in list(said))

    try:
        eventually(lambda: come(early), 30)
        assert ask(logged, "hi", f"/{late}").status == 200
        eventually(lambda: come(late), FOUND)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        reading.join(30)
    assert process.stderr is not None
    assert (process.returncode, process.stderr.read().strip()) == (130, "error: interrupted")
    assert all(json.loads(line)["app"] == "hi" for line in said)
    assert len(set(said)) == len(said)


def test_no_request_is_lost_when_the_access_log_goes_on_in_another_file(logged: Operator) -> None:
    folder, tag = requests.FOLDER, uuid.uuid4().hex
    asked = {f"/{tag}/{number}" for number in range(60)}
    argv = ("python3", "-c", ROTATE, folder, str(requests.USER), "14")
    before = logged.on("manager", "readlink", requests.PATH)

    def ask_all() -> None:
        for path in asked:
            assert ask(logged, "hi", path).status == 200

    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(ask_all)
        while not asking.done():
            logged.on("manager", *argv)
        asking.result()
    assert logged.on("manager", "readlink", requests.PATH) != before

    def found() -> list[str]:
        wanted = ("--access", "hi", "--search", tag, "--tail", "1000")
        return [line["path"] for line in lines(logged, *wanted)]

    eventually(lambda: set(found()) == asked, FOUND)
    assert len(found()) == len(asked)


def test_requests_are_deleted_on_the_proxys_server_too(logged: Operator) -> None:
    (old, young) = (f"{requests.FOLDER}/access-{number:010}.log" for number in (1, 2))
    logged.on("manager", "touch", "-d", "14 days ago", old)
    logged.on("manager", "touch", "-d", "13 days ago", young)
    logged.on("manager", "systemctl", "restart", requests.SERVICE)
    eventually(lambda: logged.on("manager", "sh", "-c", f"[ -e {old} ] || echo gone") == "gone", 30)
    logged.on("manager", "rm", young)


def test_a_failed_login_is_found_on_its_server(logged: Operator) -> None:
    name = f"cat{uuid.uuid4().hex[:8]}"
    options = "-o StrictHostKeyChecking=no -o BatchMode=yes -o ConnectTimeout=10"
    logged.on("worker-2", "sh", "-c", f"ssh {options} {name}@worker-1 true || :")

    def found() -> list[dict[str, Any]]:
        return lines(logged, "--server", "worker-1", "--search", f"invalid user {name}")

    assert "from" in eventually(found, FOUND)[0]["message"]
    assert lines(logged, "--server", "worker-2", "--search", f"invalid user {name}") == []


def test_a_new_app_is_logged_with_no_edit(logged: Operator) -> None:
    logged.deploy("hello", "latecomer")
    try:
        ps = ["docker", "service", "ps", "latecomer_web", "--filter", "desired-state=running"]
        server = logged.on("manager", *ps, "--format", "{{.Node}}")
        text = f"meow {uuid.uuid4().hex}"
        say = f"docker exec $(docker ps -qf name=latecomer_web) sh -c 'echo {text} > /proc/1/fd/1'"
        logged.on(server, "sh", "-c", say)
        (line,) = eventually(lambda: lines(logged, "latecomer", "--search", text), FOUND)
        assert (line["server"], line["service"]) == (server, "web")
        assert ask(logged, "latecomer", "/first").status == 200
        eventually(lambda: lines(logged, "--access", "latecomer", "--search", "/first"), FOUND)
    finally:
        logged.ronron("remove", "latecomer", "--delete-data", "--yes")


def test_a_new_server_is_logged_with_no_edit(logged: Operator) -> None:
    text = f"meow {uuid.uuid4().hex}"
    with another_server(logged) as (more, name):
        more.on(name, "logger", "--tag", "purr", text)
        (line,) = eventually(lambda: lines(more, "--server", name, "--search", text))
        assert (line["server"], line["service"], line["message"]) == (name, "purr", text)


def test_no_line_is_lost_while_the_store_restarts(logged: Operator) -> None:
    tag = uuid.uuid4().hex
    container = "docker ps --quiet --filter name=logs_system"
    # So slowly that it goes on while the store is stopped.
    storm = ("worker-1", "python3", "-c", STORM, tag, str(LINES), "250")
    restart = ("docker", "service", "update", "--force", "--detach", "--quiet", "logs_system")
    with ThreadPoolExecutor(1) as threads:
        sending = threads.submit(logged.on, *storm)
        eventually(lambda: arrived(logged, tag, 1))
        old = logged.on("manager", "sh", "-c", container)
        logged.on("manager", *restart)
        eventually(lambda: logged.on("manager", "sh", "-c", container) != old)
        assert not sending.done(), "nothing was sent while the store was away"
        sending.result()
    eventually(lambda: arrived(logged, tag, LINES), 180)
    assert counted(logged, tag)[1] == LINES


@contextmanager
def away(operator: Operator) -> Iterator[None]:
    """The store has neither a connection nor an address: as if its server were gone."""
    for service in ("logs_gate", "logs_system"):
        operator.on("manager", "docker", "service", "scale", f"{service}=0")
    try:
        yield
    finally:
        for service in ("logs_system", "logs_gate"):
            operator.on("manager", "docker", "service", "scale", "--detach", f"{service}=1")


def arrived(operator: Operator, tag: str, least: int) -> bool:
    try:
        return counted(operator, tag)[1] >= least
    except AssertionError:  # it is starting
        return False


def waiting(operator: Operator, server: str) -> int:
    """How many bytes of the class `system` wait on a server's disk."""
    script = f"cat {shipping.SPOOL}/system.[0-9]* 2>/dev/null | wc -c"
    return int(operator.on(server, "sh", "-c", script))


def test_no_line_is_lost_while_the_store_is_away(logged: Operator) -> None:
    tag = uuid.uuid4().hex
    with away(logged):
        logged.on("worker-1", "python3", "-c", STORM, tag, str(LINES), "2000")
        out, err = logged.ronron("logs", "--server", "worker-1", "--search", f"{tag} number 7")
        assert "the log store does not answer" in err
        assert f"{tag} number 7" in out  # from the server's own journal
        eventually(lambda: waiting(logged, "worker-1") > 0)
    eventually(lambda: arrived(logged, tag, LINES), 180)


def test_a_shipper_that_is_stopped_meanwhile_keeps_all_but_what_it_was_sending(
    logged: Operator,
) -> None:
    tag = uuid.uuid4().hex
    with away(logged):
        logged.on("worker-1", "python3", "-c", STORM, tag, str(LINES), "2000")
        eventually(lambda: waiting(logged, "worker-1") > 0)
        logged.on("worker-1", "systemctl", "restart", "ronron_shipper")
    eventually(lambda: arrived(logged, tag, LINES - 2 * shipping.BATCH), 180)


def test_a_client_is_stored_shortened_and_banned_as_it_is(logged: Operator) -> None:
    app = logged.folder / "apps" / "guarded.yml"
    text = "recipe: hello\naccess: {users: [cat]}\nlogs: {addresses: truncated}\n"
    app.write_text(text)
    logged.ronron("apply", "--yes")
    address = ""
    try:
        name, ip = f"guarded.{logged.lab.domain}", logged.lab.server("manager").ip
        _, out = lab.client(logged.lab, ["timeout", "30", "python3", "-c", SCAN, ip, name])
        address, status = out.splitlines()[0].split()
        assert status == "401"

        def banned() -> bool:
            found = json.loads(logged.ronron("bans", "list", "--json")[0])["bans"]
            return any(one["address"] == address for one in found)

        eventually(banned)
        found = eventually(lambda: lines(logged, "--access", "guarded", "--search", ".env"), FOUND)
        assert {line["client"] for line in found} == {f"{address.rpartition('.')[0]}.0"}
        assert address not in json.dumps(found)
    finally:
        if address:
            logged.ronron("bans", "lift", address)
        app.unlink()
        logged.ronron("apply", "--yes")


def test_what_is_older_than_its_class_may_get_is_deleted_and_refused(logged: Operator) -> None:
    day = datetime.now(UTC) - timedelta(days=2)
    folder = f"{VOLUME}/system/partitions/{day:%Y%m%d}"

    def send(message: str) -> None:
        line = {"time": day.isoformat(), "server": "worker-1", "message": message}
        data = '{"create":{}}\n' + json.dumps(line) + "\n"
        values = "_time_field=time&_msg_field=message&_stream_fields=server"
        url = f"http://127.0.0.1:9428/system/insert/elasticsearch/_bulk?{values}"
        header = "Content-Type: application/json"
        argv = ("wget", "-qO-", "--header", header, "--post-data", data, url)
        assert '"status":201' in inside(logged, "system", *argv)

    send("early bird")
    eventually(lambda: lines(logged, "--server", "worker-1", "--search", "early bird"), FOUND)
    logged.on("manager", "test", "-d", folder)
    write(logged, "ronron.yml", "logs", value={"retention": {"system": "1d"}})
    logged.ronron("apply", "--yes")
    assert lines(logged, "--server", "worker-1", "--search", "early bird") == []
    logged.on("manager", "test", "!", "-e", folder)
    send("late bird")
    new = uuid.uuid4().hex
    logged.on("worker-1", "python3", "-c", STORM, new, "1", "1")
    eventually(lambda: lines(logged, "--server", "worker-1", "--search", new), FOUND)
    assert lines(logged, "--server", "worker-1", "--search", "late bird") == []
    kept = logged.on("worker-1", "cat", "/etc/systemd/journald.conf.d/zz-ronron.conf")
    assert "MaxRetentionSec=1day" in kept


def test_only_servers_write_and_nobody_reads_by_the_gate(logged: Operator) -> None:
    def asked(path: str, *, shown: bool = True) -> str:
        argv = ["python3", "-c", ASK, path, *(["shown"] if shown else [])]
        return logged.on("worker-1", *argv)

    assert asked("/system/_cat/health") == "200"
    assert asked("/system/_cat/health", shown=False) != "200"  # without a certificate
    assert asked("/system/select/logsql/query?query=*") != "200"


def test_nothing_is_left_to_change(logged: Operator) -> None:
    assert logged.plan() == []
