"""What sends log lines: rsyslog's configuration, read by rsyslog itself; addresses; the store."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ronron.catalog.recipe import find
from ronron.catalog.render import render
from ronron.errors import SiteError
from ronron.servers import addresses, shipping
from ronron.servers.defend import fail2ban
from ronron.servers.provision import journal, requests, rotate
from ronron.servers.provision.model import LogAccess
from ronron.site.load import load_site
from ronron.site.logs import Retention, days, store_of
from ronron.site.models import App, Site
from ronron.site.security import SERVERS, declared_ports
from ronron.swarm.certificates import log_certificates
from stack_corpus import Case, cases

MODULES = Path("/usr/local/lib/rsyslog")
ACCESS = LogAccess("ca", "certificate", "key")
SITE = Site.model_validate(
    {
        "name": "cats",
        "domain": "example.org",
        "contact": "cat@example.org",
        "servers": {"one": {"address": "192.0.2.1", "roles": ["manager"]}, "two": {}},
    }
)


def app(name: str, recipe: str = "hello", how: str = "whole") -> App:
    return App.model_validate({"name": name, "recipe": recipe, "logs": {"addresses": how}})


STORE = app("logs", "logs")
ROUTE = re.compile(r"traefik\.http\.(?:routers|services)\.([^.]+)\.")


@pytest.mark.skipif(
    shutil.which("rsyslogd") is None or not MODULES.is_dir(),
    reason="needs rsyslogd: scripts/interpreters",
)
@pytest.mark.parametrize("how", ["whole", "truncated", "hashed"])
def test_rsyslog_takes_the_configuration(tmp_path: Path, how: str) -> None:
    for name in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / name).touch()
    text = shipping.configuration("one", [STORE, app("blog", how=how), app("wiki")])
    for folder in (shipping.FOLDER, shipping.SPOOL):
        text = text.replace(folder, str(tmp_path))
    file = tmp_path / "shipper.conf"
    file.write_text(text)
    argv = ["rsyslogd", "-N1", "-M", str(MODULES), "-f", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    file.write_text(text.replace("imjournal", "imnothing"))
    assert subprocess.run(argv, capture_output=True, timeout=30).returncode != 0


def test_the_proxys_lines_are_those_that_fail2ban_reads() -> None:
    text = shipping.configuration("one", [STORE])
    assert f'input(type="imfile" file="{requests.FILES}"' in text
    jail = fail2ban.files(())["/etc/fail2ban/jail.d/ronron.conf"][0]
    assert jail.count(f"logpath = {requests.PATH}\n") == 2
    assert "mmexternal" not in text
    assert text.count("stop\n") == 1
    assert set(re.findall(r'server="(https:\S+)"', text)) == {
        f"https://logs.ronron.internal:9428/{kind}" for kind in ("access", "app", "system")
    }


def test_addresses_of_some_apps_are_shortened_and_the_others_left() -> None:
    apps = [STORE, app("blog", how="truncated"), app("forum", how="hashed"), app("wiki")]
    text = shipping.configuration("one", apps)
    assert 'if $.app == ["blog"] then' in text
    # And what the proxy answers, which may be for any of them.
    assert 'if $.app == ["forum", "proxy"] then' in text
    assert "wiki" not in text
    # Every way that is not shortened comes last, and nothing sends the whole line.
    assert text.index("addresses.py truncated") < text.index("set $!client = $.line!ClientHost")
    assert "ClientAddr" not in text


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_requests_of_all_routes_of_a_plain_stack_are_its_apps(case: Case) -> None:
    services = case.outcome().get("services") or {}
    labels = [
        label for one in services.values() for label in one.get("deploy", {}).get("labels", ())
    ]
    routes = {found[1] for label in labels if (found := ROUTE.match(label))}
    text = shipping.configuration("one", [STORE])
    patterns = re.findall(r"re_extract\(\$\.line!(?:Router|Service)Name, '(.+?)'", text)
    assert len(patterns) == 2
    for pattern in patterns:
        for route in {"${app}_1", *routes}:
            match = re.fullmatch(pattern, route.replace("${app}", "my-wiki") + "@swarm")
            assert match is not None, route
            assert match[1] == "my-wiki", route


def test_a_site_without_a_store_sends_nothing() -> None:
    part = shipping.part("one", [app("blog")], ACCESS)
    assert (part.files, part.services, part.stopped) == ((), (), (shipping.SERVICE,))
    part = shipping.part("one", [STORE], ACCESS)
    assert part.services == (shipping.SERVICE,)
    secret = {file.path: file.mode for file in part.files if file.secret}
    assert secret[f"{shipping.FOLDER}/client.key"] == 0o600
    assert all(file.service == shipping.SERVICE for file in part.files)


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("2001:db8:1:2::7", "2001:db8:1::"),
        ("2001:db8::7", "2001:db8::"),
        ("::ffff:192.0.2.77", "192.0.2.0"),
    ],
)
def test_an_address_becomes_its_network(address: str, short: str) -> None:
    assert addresses.truncated(address) == short


def test_a_hash_is_the_same_for_a_day_and_another_one_on_the_next() -> None:
    hashed = addresses.Hashed()
    first = hashed("192.0.2.77", "2026-11-27")
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert hashed("192.0.2.77", "2026-11-27") == first
    assert hashed("192.0.2.78", "2026-11-27") != first
    assert hashed("192.0.2.77", "2026-11-28") != first
    assert addresses.Hashed()("192.0.2.77", "2026-11-27") != first


@pytest.mark.parametrize("how", addresses.HOW)
def test_the_program_answers_each_line_and_never_with_the_address(how: str) -> None:
    lines = ['{"ClientHost":"192.0.2.77"}', '{"ClientHost":"nobody"}', "no JSON", "7"]
    done = subprocess.run(
        [sys.executable, str(addresses.__file__), how],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=30,
    )
    told = [json.loads(line)["$!"]["client"] for line in done.stdout.splitlines()]
    assert len(told) == len(lines)
    assert told[0] not in ("", "192.0.2.77")
    assert told[1:] == ["", "", ""]


def test_the_journal_keeps_nothing_longer_than_any_store_of_its_lines() -> None:
    retention = Retention.model_validate({"access": "3w", "app": "1y", "system": "4w"})
    assert retention.of_journals == 28
    (file,) = journal.part(retention.of_journals).files
    assert "MaxRetentionSec=28day\n" in file.content
    assert "RateLimitBurst=0\n" in file.content
    assert [days(text) for text in ("1d", "2w", "1y")] == [1, 14, 365]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others: needs root")
def test_the_access_log_goes_on_in_another_file_and_old_ones_go(tmp_path: Path) -> None:
    folder, me, day, began = tmp_path / "log", os.getuid(), 86400, 1_795_000_000

    def run(after: float) -> tuple[bool, list[str]]:
        told = rotate.rotate(folder, me, 14, began + after)
        assert (folder / "access.log").resolve() == sorted(folder.glob("access-*.log"))[-1]
        return told, sorted(one.name[-6:-4] for one in folder.glob("access-*.log"))

    def write(size: int, at: float) -> None:
        with (folder / "access.log").open("ab") as file:
            file.truncate(size)
        os.utime(folder / "access.log", (began + at, began + at))

    assert run(0) == (False, ["00"])
    assert run(2 * day) == (False, ["00"])  # Nothing was written.
    write(rotate.SIZE, 10)
    assert run(10) == (True, ["00", "10"])
    assert run(11) == (False, ["00", "10"])
    os.utime(folder / "access.log", (began + 10, began + 10))
    os.utime(folder / f"access-{began}.log", (began + 11, began + 11))
    assert run(12) == (True, ["00", "10"])  # It does not write there yet.
    write(1, 20)
    assert run(21) == (False, ["00", "10"])  # Now it does.
    assert run(11 + 13 * day) == (True, ["00", "10", "11"])
    assert run(11 + 14 * day) == (False, ["10", "11"])
    for number in range(30):
        write(rotate.SIZE, 15 * day + number)
        run(15 * day + number)
    assert len(run(15 * day + 31)[1]) == rotate.FILES


@pytest.mark.parametrize("text", ["0d", "30", "5m", "d", "1d2h", "-1d"])
def test_a_retention_is_a_number_of_days_weeks_or_years(tmp_path: Path, text: str) -> None:
    (tmp_path / "ronron.yml").write_text(
        "name: cats\ndomain: example.org\ncontact: cat@example.org\n"
        f'logs: {{retention: {{app: "{text}"}}}}\n'
    )
    with pytest.raises(SiteError) as caught:
        load_site(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.path, problem.remedy) == (
        "logs.retention.app",
        "days, weeks or years: 30d, 2w",
    )


@pytest.mark.parametrize("recipe", ["logs", "elastic"])
def test_each_class_is_kept_as_long_as_the_site_says(tmp_path: Path, recipe: str) -> None:
    (tmp_path / "ronron.yml").write_text(
        "name: cats\ndomain: example.org\ncontact: cat@example.org\n"
        "logs: {retention: {access: 1d, app: 2w, system: 3y}}\n"
    )
    secrets = {name: f"{recipe}_{name}_1" for name in find(recipe).extension.secrets}
    stack = render(app("store", recipe), find(recipe), load_site(tmp_path).site, secrets)
    services = stack.compose["services"]
    periods = {"access": "1d", "app": "2w", "system": "3y"}
    if recipe == "logs":
        for kind, period in periods.items():
            command = services[kind]["command"]
            assert f"-retentionPeriod={period}" in command
            assert f"-http.pathPrefix=/{kind}" in command
    else:
        found = services["retention"]["environment"]["RETENTION"]
        assert dict(one.split("=") for one in found.split()) == periods


def test_opensearchs_gate_answers_its_health_without_a_password() -> None:
    recipe = find("elastic")
    web = recipe.extension.web
    assert web is not None
    text = (recipe.folder / "gate.cfg").read_text("utf-8")
    (people,) = (part for part in text.split("\n\n") if part.startswith("frontend people"))
    assert f"    bind :{web.port}\n" in people
    assert f"    monitor-uri {web.health}\n" in people


def test_a_site_has_one_store(tmp_path: Path) -> None:
    (tmp_path / "ronron.yml").write_text(
        "name: cats\ndomain: example.org\ncontact: cat@example.org\n"
    )
    (tmp_path / "apps").mkdir()
    for name in ("elastic", "logs"):
        (tmp_path / "apps" / f"{name}.yml").write_text(f"recipe: {name}\n")
    with pytest.raises(SiteError) as caught:
        load_site(tmp_path)
    assert [(one.file, one.message) for one in caught.value.problems] == [
        ("apps/logs.yml", "elastic is the site's log store already")
    ]


def test_the_stores_port_is_open_to_servers_alone_while_there_is_one() -> None:
    def ports(*apps: App) -> dict[str, list[tuple[str, ...]]]:
        found = declared_ports(SITE, {one.name: one for one in apps})
        return {
            name: [port.sources for port in ports if port.covers("tcp", 9428)]
            for name, ports in found.items()
        }

    assert ports(app("blog")) == {"one": [], "two": []}
    assert ports(app("blog"), STORE) == {"one": [(SERVERS,)], "two": []}
    assert store_of([app("blog"), STORE]) == STORE


def test_the_certificates_are_of_one_authority_whose_key_is_gone() -> None:
    from cryptography import x509

    made = {name: value.reveal() for name, value in log_certificates().values.items()}
    assert set(made) == {"authority", "gate", "shipper", "shipper_key"}
    authority = x509.load_pem_x509_certificate(made["authority"].encode())
    for name in ("gate", "shipper"):
        one = x509.load_pem_x509_certificate(made[name].encode())
        one.verify_directly_issued_by(authority)
    assert "PRIVATE KEY" in made["gate"]
    names = x509.load_pem_x509_certificate(made["gate"].encode()).extensions
    found = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == [shipping.HOST]
