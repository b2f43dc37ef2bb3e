# ruff: noqa: E501 (an error line is easier to read whole)
"""Loading a site: all faults of all files together, each in plain words with its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ronron.errors import OperatorError, SiteError
from ronron.site.load import LoadedSite, find_site, load_site
from ronron.site.models import App, Server, Site

GOOD = "name: my-cloud\ndomain: example.org\ncontact: admin@example.org\n"
MANAGER = "  master: {address: master.example.net, roles: [manager, storage]}\n"


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def load(folder: Path, site: str = GOOD, **apps: str) -> LoadedSite:
    files = {f"apps/{name.replace('_', '-')}.yml": text for name, text in apps.items()}
    return load_site(write(folder, {"ronron.yml": site, **files}))


def faults(folder: Path, site: str = GOOD, **apps: str) -> list[str]:
    with pytest.raises(SiteError) as raised:
        load(folder, site, **apps)
    return [str(problem) for problem in raised.value.problems]


def test_a_whole_site(tmp_path: Path) -> None:
    text = (
        GOOD + "servers:\n" + MANAGER + "  worker-1:\n  worker-2: {address: 10.0.0.3, port: 2222}\n"
        "docker: {packages: docker}\nacme: {directory: letsencrypt-staging, ca: ca.pem}\n"
        "network: {subnet: 192.168.0.0/20, encrypted: false, mtu: 1400}\n"
        "resolver: 127.0.0.1:5353\nimages: {source: build}\nplaybooks: [ours.yml]\n"
    )
    write(tmp_path, {"ca.pem": "", "ours.yml": "", "stacks/old.yml": ""})
    loaded = load(
        tmp_path,
        text,
        blog="recipe: ghost\nlimits: {web: {memory: 512M, cpus: 1.5}}\nreplicas: {web: 2}\n"
        'images: {web: "ghost:6.49.0"}\nparameters: {title: My blog, posts: 5, zip: 01234}\n',
        old="stack: stacks/old.yml\ndomain: Été.Example.org\n",
    )
    site, blog = loaded.site, loaded.apps["blog"]
    assert site.manager == Server(
        name="master", address="master.example.net", roles=("manager", "storage")
    )
    assert [s.name for s in site.with_role("worker")] == ["worker-1", "worker-2"]
    assert site.servers["worker-1"].address == "worker-1"
    assert site.acme.url == "https://acme-staging-v02.api.letsencrypt.org/directory"
    assert blog.limits["web"].cpus == "1.5"
    assert blog.parameters == {"title": "My blog", "posts": 5, "zip": "01234"}
    assert loaded.domain(blog) == "blog.example.org"
    assert loaded.domain(loaded.app("old")) == "xn--t-9fab.example.org"


def test_all_faults_of_all_files_come_together(tmp_path: Path) -> None:
    site = (
        GOOD + "servers:\n" + MANAGER + "  worker-2: {adress: x.example.net}\nplaybooks: [a.yml]\n"
    )
    assert faults(
        tmp_path,
        site,
        blog="recipe: ghost\ndomain: shop.example.org\n",
        broken="recipe: [",
        shop="recipe: ghost\nreplicas: {web: two}\n",
    ) == [
        "ronron.yml: servers.worker-2.adress: unknown key (did you mean address?)",
        "apps/broken.yml: line 2: is not YAML: did not find expected node content"
        " (check the indentation, the quotes and the brackets)",
        "apps/shop.yml: replicas.web: must be a whole number, not 'two'",
    ]


def test_what_only_the_whole_site_tells(tmp_path: Path) -> None:
    assert faults(
        tmp_path,
        GOOD + "playbooks: [a.yml]\nacme: {ca: ca.pem}\n",
        blog="recipe: ghost\ndomain: shop.example.org\n",
        shop="stack: shop.yml\n",
    ) == [
        "ronron.yml: playbooks.0: there is no file a.yml in the site (copy it there)",
        "ronron.yml: acme.ca: there is no file ca.pem in the site (copy it there)",
        "apps/shop.yml: stack: there is no file shop.yml in the site (copy it there)",
        "apps/shop.yml: domain: shop.example.org is already taken by app blog (apps/blog.yml)"
        " (choose another domain)",
    ]


SITE_FAULTS = {
    "name: A\n": "name: 'A' is not a name (a name is 1 to 31 of a-z, 0-9 and -, begins with a letter "
    "and does not end with -)",
    "domain: https://a.org/\n": "domain: 'https://a.org/' is a URL "
    "(write the domain name alone, without https:// or /)",
    "domain: localhost\n": "domain: 'localhost' is not a domain name "
    "(two labels or more, such as blog.example.org)",
    "domain: a..b\n": "domain: 'a..b' is not a domain name "
    "(labels of letters, digits and - joined by dots, such as blog.example.org)",
    "domain: '*.a.org'\n": "domain: '*.a.org' is a wildcard (write one domain name)",
    "domain: 5\n": "domain: must be text, not 5 (put it in quotes)",
    "domain: [a.org]\n": "domain: must be text, not a list",
    "domain:\n": "domain: missing (add it: Default domain of the apps: app `blog` is at "
    "`blog.DOMAIN`.)",
    "contact: nobody\n": "contact: 'nobody' is not an e-mail address (such as admin@example.org)",
    "servers: [a]\n": "servers: must be a mapping, not a list (write one `key: value` a line below it)",
    "servers: {a: b}\n": "servers.a: must be a mapping, not 'b' (write one `key: value` a line below it)",
    "servers: {a-: {}}\n": "servers.a-: 'a-' is not a name (a name is 1 to 31 of a-z, 0-9 and -, begins "
    "with a letter and does not end with -)",
    "servers: {a: {roles: []}}\n": "servers.a.roles: is empty (give one at least, or remove the key)",
    "servers: {a: {roles: manager}}\n": "servers.a.roles: must be a list, not 'manager' "
    "(write [manager])",
    "servers: {a: {roles: [boss]}}\n": "servers.a.roles.0: 'boss' is not known here "
    "(one of manager, worker or storage)",
    "servers: {a: {roles: [manager, manager]}}\n": "servers.a.roles: manager is there twice (remove one)",
    "servers: {a: {port: 0}}\n": "servers.a.port: must be 1 or more, not 0",
    "servers: {a: {port: '22'}}\n": "servers.a.port: must be a whole number, not '22' "
    "(remove the quotes)",
    "servers: {a: {user: 'a b'}}\n": "servers.a.user: 'a b' is not a user name (such as root or admin)",
    "servers: {a: {roles: [manager], name: b}}\n": "servers.a.name: unknown key (a server's name is its key under servers)",
    "servers: {a: {address: 'a:22'}}\n": "servers.a.address: 'a:22' has a port "
    "(write the port under port: instead)",
    "servers: {a: {address: root@a}}\n": "servers.a.address: 'root@a' names a user "
    "(write the user under user: instead)",
    "servers: {a: {address: 10.0.0.256}}\n": "servers.a.address: '10.0.0.256' is not an IP address "
    "(four numbers from 0 to 255)",
    "servers: {a: {labels: {x: 1}}}\n": "servers.a.labels.x: must be text, not 1 (put it in quotes)",
    "servers: {a: {labels: {ronron.x: b}}}\n": "servers.a.labels.ronron.x: ronron.x is one of ronron's "
    "own labels (choose another name)",
    "servers: {a: {}}\n": "servers: no server is a manager (give one server roles: [manager])",
    "servers: {a: {roles: [manager]}, b: {roles: [manager]}}\n": "servers: two managers (a and b): a "
    "majority of two is two, so losing either stops the swarm from being changed, which is worse "
    "than having one (have one manager, or three)",
    "servers: {a: {roles: [manager]}, b: {address: a}}\n": "servers: a and b have the same address a "
    "(each server is declared once)",
    "docker: {packages: rpm}\n": "docker.packages: 'rpm' is not known here (one of debian or docker)",
    "acme: {directory: http://a.org}\n": "acme.directory: 'http://a.org' is not an ACME directory "
    "(letsencrypt, letsencrypt-staging, or a URL that begins with https://)",
    "acme: {ca: ../ca.pem}\n": "acme.ca: '../ca.pem' is not a path in the site "
    "(copy the file into the site and write its path from there)",
    "network: {subnet: 8.0.0.0/16}\n": "network.subnet: 8.0.0.0/16 is not a private network "
    "(in 10/8, 172.16/12 or 192.168/16)",
    "network: {subnet: 10.0.0.0/8}\n": "network.subnet: 10.0.0.0/8 is not between /16 and /24 "
    "(such as 10.90.0.0/16)",
    "network: {subnet: 10.0.0.1/16}\n": "network.subnet: '10.0.0.1/16' is not an IPv4 network "
    "(such as 10.90.0.0/16)",
    "network: {encrypted: 'no'}\n": "network.encrypted: must be true or false, not 'no'",
    "network: {interface: 'eth 0'}\n": "network.interface: 'eth 0' is not a network interface "
    "(such as eth0)",
    "network: {mtu: 1}\n": "network.mtu: must be 1280 or more, not 1",
    "resolver: dns.example.org\n": "resolver: 'dns.example.org' is not a name server's address "
    "(such as 192.0.2.53 or 127.0.0.1:5353)",
    "images: {source: hub}\n": "images.source: 'hub' is not known here (one of auto, pull or build)",
    "colour: red\n": "colour: unknown key (known here: name, domain, contact, servers, ssh, docker, acme, "
    "network, resolver, images, mail, backup, storage, firewall, hardening, audit, alerts, logs, playbooks)",
}


@pytest.mark.parametrize("text", SITE_FAULTS)
def test_a_fault_of_ronron_yml_is_said_plainly(tmp_path: Path, text: str) -> None:
    key = text.split(":")[0]
    others = "".join(f"{line}\n" for line in GOOD.splitlines() if not line.startswith(f"{key}:"))
    assert faults(tmp_path, others + text) == [f"ronron.yml: {SITE_FAULTS[text]}"]


def test_four_managers_are_refused_with_the_reason(tmp_path: Path) -> None:
    servers = "".join(f"  m{i}: {{roles: [manager]}}\n" for i in range(4))
    assert faults(tmp_path, f"{GOOD}servers:\n{servers}") == [
        "ronron.yml: servers: 4 managers (m0, m1, m2, m3): three are enough, each more slows every "
        "change of the swarm (keep three, make the others workers)"
    ]


APP_FAULTS = {
    "": "recipe: missing (name a recipe, as ronron recipe list has them, or give stack: FILE)",
    "recipe: a\nstack: b.yml": "stack: has a recipe and a stack (keep one of the two)",
    "recipe: a\nname: b": "name: unknown key (an app's name is its file's)",
    "recipe: a\ndomian: b.org": "domian: unknown key (did you mean domain?)",
    "recipe: a\nlimits: {web: {memory: 512}}": "limits.web.memory: must be text, not 512 "
    "(put it in quotes)",
    "recipe: a\nlimits: {web: {memory: 512MB}}": "limits.web.memory: '512MB' is not a size "
    "(a whole number and K, M or G, such as 512M)",
    "recipe: a\nlimits: {web: {memory: 4M}}": "limits.web.memory: 4M is less than a container can "
    "start with (6M or more)",
    "recipe: a\nlimits: {web: {memry: 4M}}": "limits.web.memry: unknown key (did you mean memory?)",
    "recipe: a\nlimits: {web: {cpus: all}}": "limits.web.cpus: 'all' is not a number of CPUs "
    "(such as 0.5 or 2)",
    "recipe: a\nlimits: {web: {cpus: 0}}": "limits.web.cpus: must be more than 0 (such as 0.5)",
    "recipe: a\nlimits: {w b: {}}": "limits.w b: 'w b' is not a service's name "
    "(as in the stack: such as web)",
    "recipe: a\nreplicas: {web: 1000}": "replicas.web: must be 100 or less, not 1000",
    "recipe: a\nparameters: {a: [1]}": "parameters.a: must be text, a number, true or false "
    "(put text in quotes)",
    "recipe: a\nparameters: {a b: 1}": "parameters.a b: 'a b' is not a parameter's name "
    "(letters, digits and _)",
    "stack: a.yml\nweb: web": "web: 'web' is not SERVICE:PORT (such as web:8080)",
    "stack: a.yml\nweb: web:²": "web: 'web:²' is not SERVICE:PORT (such as web:8080)",
    "recipe: a\nweb: web:80": "web: is for a stack file: a recipe says it (remove it)",
    "recipe: a\nimages: {web: ghost}": "images.web: ghost is whatever is newest that day "
    "(add a version, such as :6.49.0)",
    "recipe: a\nimages: {web: 'a:b:c'}": "images.web: 'a:b:c' is not an image (such as ghost:6.49.0)",
    "- a": "is not a mapping (write one `key: value` a line)",
    "recipe: a\nrecipe: b": "line 2: the key recipe is there twice (remove one)",
    "recipe: a\n5: b": "line 2: the key 5 is not text (put it in quotes)",
    "recipe: !x a": "line 1: YAML tags are not used here (remove the !)",
    "recipe: a: b": "line 1: is not YAML: mapping values are not allowed in this context "
    "(put text with ': ' in quotes, and check the indentation)",
}


@pytest.mark.parametrize("text", APP_FAULTS)
def test_a_fault_of_an_app_is_said_plainly(tmp_path: Path, text: str) -> None:
    place = "apps/blog.yml: "
    assert faults(tmp_path, blog=text) == [place + APP_FAULTS[text]]


def test_faults_of_an_app_file_s_name(tmp_path: Path) -> None:
    write(
        tmp_path, {"apps/Blog.yml": "recipe: a", "apps/x.yaml": "recipe: a", "apps/README.md": ""}
    )
    (tmp_path / "apps" / "folder.yml").mkdir()
    assert faults(tmp_path, proxy="recipe: proxy") == [
        "apps/x.yaml: is not read (rename it to x.yml)",
        "apps/Blog.yml: 'Blog' is not a name (a name is 1 to 31 of a-z, 0-9 and -, begins with a "
        "letter and does not end with -)",
        "apps/folder.yml: cannot be read: Is a directory",
        "apps/proxy.yml: proxy is an app of the platform (rename the file)",
    ]


def test_a_site_is_found_upwards(tmp_path: Path) -> None:
    write(tmp_path, {"ronron.yml": GOOD, "apps/deep/x": ""})
    assert find_site(tmp_path / "apps" / "deep") == tmp_path


def test_no_site(tmp_path: Path) -> None:
    for look in (find_site, load_site):
        with pytest.raises(OperatorError) as raised:
            look(tmp_path)
        assert str(raised.value) == (
            f"{tmp_path} is not a ronron site (run ronron init NAME, or cd into a site)"
        )
        assert raised.value.exit_code == 2


def test_what_is_asked_for_and_is_not_there(tmp_path: Path) -> None:
    loaded = load(tmp_path, blog="recipe: ghost")
    with pytest.raises(
        OperatorError, match=r"there is no app blogg in this site \(did you mean blog"
    ):
        loaded.app("blogg")
    with pytest.raises(OperatorError, match=r"servers: none is declared"):
        _ = loaded.site.manager


def test_models_are_frozen(tmp_path: Path) -> None:
    loaded = load(tmp_path, blog="recipe: ghost")
    for model in (loaded.site, loaded.apps["blog"]):
        with pytest.raises(ValueError, match="frozen"):
            model.domain = "b.org"


words = st.sampled_from(
    ["name", "servers", "roles", "address", "domain", "recipe", "limits", "web", "memory", "a: b"]
)
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | words,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(words | st.text(), below, max_size=5)
    ),
    max_leaves=12,
)
known = [*Site.model_fields, *App.model_fields, *Server.model_fields]


@given(
    st.text() | st.binary() | st.dictionaries(st.sampled_from(known), trees).map(str),
    st.text() | st.binary() | st.dictionaries(st.sampled_from(known), trees).map(repr),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300
)
def test_whatever_is_in_the_files_only_siteerror_comes_out(
    tmp_path_factory: pytest.TempPathFactory, site: str | bytes, app: str | bytes
) -> None:
    folder = tmp_path_factory.mktemp("site")
    (folder / "apps").mkdir()
    for name, content in (("ronron.yml", site), ("apps/a.yml", app)):
        if isinstance(content, str):
            content = content.encode(errors="surrogatepass")
        (folder / name).write_bytes(content)
    try:
        load_site(folder)
    except SiteError as error:
        for problem in error.problems:
            assert "\n" not in str(problem)
            assert "pydantic" not in str(problem)


@pytest.mark.parametrize(
    "text", ["[" * 20_000, "a: " * 1, "{a: " * 20_000, "&a [*a]", "\0", "\ufeff"]
)
def test_yaml_that_hurts(tmp_path: Path, text: str) -> None:
    faults(tmp_path, text)
