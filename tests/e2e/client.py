"""An app as a browser meets it: over TLS verified against the lab's authority, with cookies."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from e2e.cloud import Operator


@contextmanager
def deployed(operator: Operator, recipe: str, name: str, *options: str) -> Iterator[httpx.Client]:
    """Deploy an app, speak with it over TLS verified against the lab's authority, remove it."""
    operator.deploy(recipe, name, "--timeout", "500", *options)
    client = httpx.Client(
        base_url=f"https://{name}.{operator.lab.domain}",
        transport=ToManager(operator),
        timeout=30,
    )
    try:
        with client:
            yield client
    finally:
        # Without its database a program may take half a minute to end.
        operator.on("manager", "docker", "service", "scale", f"{name}_web=0")
        operator.ronron("remove", name, "--delete-data", "--yes")


class ToManager(httpx.HTTPTransport):
    """Requests go to the manager's address; its certificate must be the name's."""

    def __init__(self, operator: Operator) -> None:
        self.address = operator.lab.server("manager").ip
        trusted = ssl.create_default_context(cafile=str(operator.folder / "acme-root.pem"))
        super().__init__(verify=trusted)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # A request of its own: cookies are the name's, not the address's.
        return super().handle_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host=self.address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": request.url.host},
            )
        )
