"""WordPress and a wiki: used over HTTPS, backed up, changed, and restored as they were."""

from __future__ import annotations

import html
import json
import os
import re
import struct
import zlib

import httpx
import pytest

from e2e.client import deployed
from e2e.cloud import Operator

pytestmark = [pytest.mark.lab, pytest.mark.long]
PASSWORD = "Correct-h0rse battery"


def picture() -> bytes:
    """A PNG file of random dots."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    rows = b"".join(b"\0" + os.urandom(3 * 64) for _ in range(64))
    head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def succeeded(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text[:500]}"
    return answer


def visitor(operator: Operator, client: httpx.Client) -> httpx.Client:
    """Somebody else's browser."""
    return httpx.Client(base_url=client.base_url, transport=client._transport, timeout=30)


def test_a_post_and_a_picture_of_wordpress_come_back(kept: Operator) -> None:
    with deployed(kept, "wordpress", "news") as client:
        install = {
            "weblog_title": "Cats", "user_name": "ada", "admin_password": PASSWORD,
            "admin_password2": PASSWORD, "admin_email": "ada@example.org", "blog_public": "0",
        }  # fmt: skip
        succeeded(client.post("/wp-admin/install.php", params={"step": "2"}, data=install))
        login = {"log": "ada", "pwd": "wrong", "testcookie": "1"}
        client.get("/wp-login.php")
        assert "is incorrect" in client.post("/wp-login.php", data=login).text
        assert client.post("/wp-login.php", data={**login, "pwd": PASSWORD}).status_code == 302
        nonce = succeeded(client.get("/wp-admin/admin-ajax.php", params={"action": "rest-nonce"}))
        client.headers["X-WP-Nonce"] = nonce.text

        def post(title: str) -> int:
            route = {"rest_route": "/wp/v2/posts"}
            body = {"title": title, "content": "It purrs.", "status": "publish"}
            number: int = succeeded(client.post("/", params=route, json=body)).json()["id"]
            return number

        first, image = post("The first cat"), picture()
        media = succeeded(
            client.post(
                "/", params={"rest_route": "/wp/v2/media"}, content=image,
                headers={"Content-Type": "image/png",
                         "Content-Disposition": 'attachment; filename="cat.png"'},
            )
        ).json()["source_url"]  # fmt: skip
        kept.ronron("backup", "news")
        (drilled,) = json.loads(kept.ronron("drill", "news", "--json")[0])
        assert drilled["passed"], drilled
        second = post("The second cat")
        client.delete("/", params={"rest_route": f"/wp/v2/posts/{first}", "force": "true"})
        kept.on("manager", "sh", "-c", "rm -r /srv/ronron/volumes/news/html/wp-content/uploads/*")
        with visitor(kept, client) as other:
            assert other.get("/", params={"p": first}).status_code == 404
            assert "The second cat" in other.get("/", params={"p": second}).text
            assert other.get(httpx.URL(media).path).status_code == 404
            kept.ronron("restore", "news", "--yes")
            assert "The first cat" in succeeded(other.get("/", params={"p": first})).text
            assert other.get("/", params={"p": second}).status_code == 404
            assert succeeded(other.get(httpx.URL(media).path)).content == image
            # PHP's files of what people upload, and those with passwords, are nobody's to read.
            assert other.get("/wp-config.php").text == ""
        memory(kept, "news", "web", "db")


def test_a_page_of_the_wiki_comes_back(kept: Operator) -> None:
    with deployed(kept, "dokuwiki", "wiki", "--set", "title=Cats") as client:
        shown = json.loads(kept.ronron("secrets", "show", "wiki", "--reveal", "--json")[0])

        def token(page: str) -> str:
            found = re.search(r'name="sectok" value="(\w*)"', page)
            assert found, page[:500]
            return found[1]

        form = {"do": "login", "id": "start", "u": "admin", "p": "wrong"}
        page = succeeded(client.get("/doku.php", params={"do": "login"})).text
        assert "logout" not in client.post("/doku.php", data={**form, "sectok": token(page)}).text
        page = succeeded(client.get("/doku.php", params={"do": "login"})).text
        form |= {"p": shown["admin_password"], "sectok": token(page)}
        client.post("/doku.php", data=form)
        assert "do=logout" in client.get("/doku.php").text

        def write(name: str, words: str) -> None:
            page = succeeded(client.get("/doku.php", params={"id": name, "do": "edit"})).text
            fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
            fields = {key: html.unescape(value) for key, value in fields.items()}
            body = {**fields, "id": name, "wikitext": words, "do[save]": "1"}
            assert client.post("/doku.php", data=body).status_code < 400

        write("cat", "It **purrs**.")
        with visitor(kept, client) as other:
            read = {"id": "cat"}
            assert "<strong>purrs</strong>" in succeeded(other.get("/doku.php", params=read)).text
            page = other.get("/doku.php", params={"id": "cat", "do": "edit"}).text
            assert "do[save]" not in page, "who has no account writes nothing"
            kept.ronron("backup", "wiki")
            (drilled,) = json.loads(kept.ronron("drill", "wiki", "--json")[0])
            assert drilled["passed"], drilled
            write("cat", "It barks.")
            write("dog", "A page that came later.")
            kept.ronron("restore", "wiki", "--yes")
            page = succeeded(other.get("/doku.php", params=read)).text
            assert "<strong>purrs</strong>" in page
            assert "barks" not in page
            later = other.get("/doku.php", params={"id": "dog"})
            assert "A page that came later" not in later.text
            for path in ("/data/pages/cat.txt", "/conf/users.auth.php", "/inc/preload.php"):
                assert other.get(path).status_code in (403, 404), path
        memory(kept, "wiki", "web")


def memory(operator: Operator, app: str, *services: str) -> None:
    """Nothing comes near its limit; what was seen is in the recipes' READMEs."""
    script = "docker stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.MemPerc}}'"
    seen = [
        line
        for server in ("manager", "worker-1", "worker-2")
        for line in operator.on(server, "sh", "-c", script).splitlines()
        if line.startswith(f"{app}_")
    ]
    assert len(seen) == len(services), seen
    print("memory:", *seen, sep="\n  ")
    assert all(float(line.rstrip("%").split()[-1]) < 85 for line in seen), seen
