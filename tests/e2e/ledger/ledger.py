"""Words in SQLite over HTTP: `/` tells them, `/add?WORD` answers once the word is on the disk."""

import signal
import sqlite3
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

PATH = "/data/words"


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(PATH)
    connection.execute("CREATE TABLE IF NOT EXISTS words (word TEXT)")
    return connection


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, word = self.path.partition("?")
        with opened() as database:
            if path == "/add":
                database.execute("INSERT INTO words VALUES (?)", (word,))
                database.commit()
            if path == "/dump":
                self.answer("\n".join(database.iterdump()))
            else:
                found = database.execute("SELECT word FROM words ORDER BY rowid")
                self.answer(" ".join(word for (word,) in found))

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with opened() as database:
            database.execute("DROP TABLE words")
            database.executescript(text)
        self.answer("restored")

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


def ask(path: str, host: str = "web", data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(f"http://{host}:8080{path}", data, timeout=20) as answer:
        content: bytes = answer.read()
        return content


if sys.argv[1:] == ["check"]:
    ask("/", "127.0.0.1")
elif sys.argv[1:] == ["dump"]:
    sys.stdout.buffer.write(ask("/dump"))
elif sys.argv[1:] == ["restore"]:
    ask("/restore", data=sys.stdin.buffer.read())
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HTTPServer(("", 8080), Handler).serve_forever()
