"""pyinfra's way to a server: the open connection of our own SSH runner, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gevent.subprocess import PIPE, Popen
from pyinfra.api.command import StringCommand
from pyinfra.connectors.base import BaseConnector, ConnectorData, DataMeta
from pyinfra.connectors.util import (
    CommandOutput,
    OutputLine,
    extract_control_arguments,
    make_unix_command_for_host,
)


class OpenSshData(ConnectorData):
    """What the connector is told of a server."""

    ssh: list[str]


class OpenSshConnector(BaseConnector):
    """Runs commands through `ssh`, the local argv up to the remote command.

    The last command that failed is kept in the host's `connector_data["failed"]`: exit status
    and output lines.
    """

    handles_execution = True
    data_cls = OpenSshData
    data_meta = {"ssh": DataMeta("argv of ssh up to the remote command", [])}  # noqa: RUF012

    @staticmethod
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """One name, one server."""
        yield name, {}, []

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,  # noqa: ANN401
    ) -> tuple[bool, CommandOutput]:
        """Run `command` with the text `_stdin` as its standard input."""
        control = extract_control_arguments(arguments)  # type: ignore[arg-type]
        wrapped = make_unix_command_for_host(self.state, self.host, command, **arguments)
        stdin = str(control.get("_stdin") or "")
        process = Popen(
            [*self.data["ssh"], wrapped.get_raw_value()], stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        streams = process.communicate(stdin.encode())
        output = CommandOutput(
            [
                OutputLine(name, line)
                for name, text in zip(("stdout", "stderr"), streams, strict=True)
                for line in text.decode(errors="replace").splitlines()
            ]
        )
        status = int(process.returncode)
        good = status in (control.get("_success_exit_codes") or [0])
        if not good:
            self.host.connector_data["failed"] = (status, output.output_lines)
        return good, output

    def put_file(self, *_: Any, **__: Any) -> bool:  # noqa: ANN401
        """Refused: files are written by `operations.write`, whole and with their mode."""
        raise NotImplementedError

    def get_file(self, *_: Any, **__: Any) -> bool:  # noqa: ANN401
        """Refused: provisioning brings nothing home."""
        raise NotImplementedError
