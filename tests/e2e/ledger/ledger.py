"""Words in SQLite over HTTP: `/` tells them, `/add?WORD` answers once the word is on the disk."""

import signal
import sqlite3
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
            found = database.execute("SELECT word FROM words ORDER BY rowid")
            self.answer(" ".join(word for (word,) in found))

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())


if sys.argv[1:] == ["check"]:
    urllib.request.urlopen("http://127.0.0.1:8080/", timeout=20).close()
elif sys.argv[1:] == ["dump"]:
    with sqlite3.connect(f"file:{PATH}?mode=ro", uri=True) as database:
        print(*database.iterdump(), sep="\n")
elif sys.argv[1:] == ["restore"]:
    with sqlite3.connect(PATH) as database:
        database.executescript(sys.stdin.read())
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", 8080), Handler).serve_forever()
