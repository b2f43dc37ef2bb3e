"""The runners that need no server: local and recording, and the processes beneath."""

import os
from pathlib import Path

import pytest

from ronron.errors import ServerError
from ronron.servers import process
from ronron.servers.local import LocalRunner
from ronron.servers.recording import Answer, Call, RecordingRunner
from ronron.servers.runner import Runner


def test_local_words_arrive_as_they_are() -> None:
    runner: Runner = LocalRunner()
    words = ["a b", "$HOME", "*", "", "it's"]
    done = runner.run(["printf", "%s\\0", *words])
    assert done.stdout.decode().split("\0")[:-1] == words
    assert runner.run(["cat"], stdin=b"\x00\xff").stdout == b"\x00\xff"


def test_local_failures() -> None:
    runner = LocalRunner()
    with pytest.raises(ServerError, match="sh ended with status 3") as failure:
        runner.run(["sh", "-c", "echo why >&2; exit 3"])
    assert failure.value.details == ("why",)
    assert runner.run(["false"], check=False).status == 1
    with pytest.raises(ServerError, match=r"sleep was not done after 0 s"):
        runner.run(["sleep", "30"], timeout=0.1)
    with pytest.raises(ServerError, match="no-such-program is not installed"):
        runner.run(["no-such-program"])


def test_local_files_are_written_whole(tmp_path: Path) -> None:
    runner = LocalRunner()
    path = tmp_path / "a file"
    runner.put(str(path), b"one", mode=0o600)
    runner.put(str(path), b"two", mode=0o640)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ServerError, match="No such file"):
        runner.put(str(tmp_path / "nowhere" / "file"), b"")
    runner.put(str(tmp_path / "new" / "file"), b"", folder=0o710)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o710


def test_streaming_ends_the_process_with_the_iterator() -> None:
    lines = process.stream("here", ["sh", "-c", "echo $$; exec sleep 1000"], ["sh"])
    number = int(next(lines))
    os.kill(number, 0)
    lines.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_streaming_tells_the_last_lines_of_a_failure() -> None:
    lines = process.stream("here", ["sh", "-c", "echo out; echo err >&2; exit 5"], ["deploy"])
    assert [next(lines), next(lines)] == ["out", "err"]
    with pytest.raises(ServerError, match="here: deploy ended with status 5") as failure:
        next(lines)
    assert failure.value.details == ("out", "err")


def test_the_recording_answers_by_the_longest_match() -> None:
    runner = RecordingRunner(
        "master",
        {
            "docker": b"anything",
            "docker node ls": b"two nodes\n",
            "docker node rm": Answer(status=1, stderr=b"it is up\n"),
            "cat": lambda argv, stdin: stdin or b"",
        },
    )
    assert runner.run(["docker", "node", "ls", "-q"]).text == "two nodes"
    assert runner.run(["docker", "nodes"]).text == "anything"
    assert runner.run(["cat"], stdin=b"given").text == "given"
    assert runner.run(["true"]).status == 0
    with pytest.raises(ServerError, match="master: docker ended with status 1") as failure:
        runner.run(["docker", "node", "rm", "one"])
    assert failure.value.details == ("it is up",)
    runner.put("/etc/x", b"content", mode=0o600)
    assert runner.files == {"/etc/x": (b"content", 0o600)}
    assert runner.calls[2] == Call("run", ("cat",), b"given")
    assert runner.commands[0] == ["docker", "node", "ls", "-q"]
