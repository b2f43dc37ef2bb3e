"""`ronron deploy hello` to the first verified HTTPS 200, beside `docker stack deploy` and the same.

Both deploy the stack that ronron renders, under a name and a domain that are new each time, so that
a certificate is issued each time. For both the clock starts with the command, and stops when the
app's health path first answers 200 over verified TLS, asked every quarter of a second. The command
without ronron is what one would type, `ssh MANAGER docker stack deploy …`, which opens a connection
of its own as ours does.
"""

from __future__ import annotations

import http.client
import random
import shlex
import statistics
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

from laboratory import SERVERS, Laboratory
from measure import Result, alternate, ratio, say, timed

from ronron.catalog.stack import Stack
from ronron.events import ignore
from ronron.plan.apply import proxy_address
from ronron.plan.make import rendered
from ronron.plan.observe import observe
from ronron.plan.session import Session, open_session
from ronron.site.load import load_site
from ronron.site.models import App
from ronron.swarm import probe, stacks
from ronron.swarm.engines import engine_of
from ronron.swarm.waiting import until

REPETITIONS = 25
PROXY_SECONDS = 2.0
"""How often the proxy looks for new apps."""

SECONDS = 300.0


def measure(laboratory: Laboratory) -> list[Result]:
    """The ratio, and the seconds behind it; each repetition has a domain that is new."""
    say("deploying: bringing the image to every server")
    laboratory.deploy("hello", "first", "--replicas", f"web={SERVERS}")
    laboratory.remove(["first"])
    numbers = count(1)
    chance = random.Random(1)  # noqa: S311 - no secret
    ours_whole: list[float] = []
    loaded = load_site(laboratory.site)
    with open_session(loaded, ignore) as session:
        mtu = observe(loaded, session.servers, session.report).link_mtu

        def pause() -> None:
            # The proxy looks for new apps every two seconds: none shall meet it in step.
            threading.Event().wait(chance.uniform(0, PROXY_SECONDS))

        def ours() -> float:
            pause()
            stack = render(session, f"ours-{next(numbers)}", mtu)
            argv = laboratory.deploy_command("hello", stack.app)
            answered, ended = until_answered(session, stack, argv)
            laboratory.remove([stack.app])
            ours_whole.append(ended)
            return answered

        def bare() -> float:
            pause()
            stack = render(session, f"bare-{next(numbers)}", mtu)
            argv = stack_deploy(session, stack.app)
            answered, _ = until_answered(session, stack, argv, stack.text.encode())
            with engine_of(session.manager) as engine:
                stacks.remove(engine, session.manager, stack.app, session.report)
            return answered

        say("deploying: measuring")
        ours_times, bare_times = alternate(REPETITIONS, ours, bare, warm_up=1)
    name = "deploy hello"
    means = statistics.mean(ours_times) / statistics.mean(bare_times)
    return [
        Result(f"{name} / docker stack deploy", ratio(ours_times, bare_times), "ratio", 1.25),
        Result(f"{name} / docker stack deploy, of the means", means, "ratio"),
        Result.median(f"{name} to HTTPS 200", ours_times, "s"),
        Result.median("docker stack deploy to HTTPS 200", bare_times, "s"),
        Result.median(f"{name}, the whole command", ours_whole, "s"),
    ]


def render(session: Session, app: str, mtu: int) -> Stack:
    """The stack of `hello` as ronron renders it for the app."""
    declared = App(name=app, recipe="hello")
    recipe = session.catalog.find("hello")
    return rendered(declared, recipe, session.loaded.site, None, mtu)[0]


def stack_deploy(session: Session, app: str) -> list[str]:
    """The command that deploys the stack on its standard input with Docker alone."""
    loaded = session.loaded
    server = loaded.site.manager
    options = {
        "ControlPath": "none",
        "BatchMode": "yes",
        "IdentityFile": loaded.site.ssh.key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": loaded.known_hosts,
        "HostKeyAlias": server.name,
    }
    ssh = ["ssh", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    command = shlex.join(stacks.deploy_command(app))
    return [*ssh, f"{server.user}@{proxy_address(session)}", command]


def until_answered(
    session: Session, stack: Stack, argv: list[str], stdin: bytes = b""
) -> tuple[float, float]:
    """Run a command that deploys the stack; seconds until it answered, and until the command ended.

    Raises RuntimeError when the command fails, RonronError when the app does not answer.
    """
    address = proxy_address(session)
    trust = session.loaded.path(str(session.loaded.site.acme.trust))
    domain = str(stack.domain)
    command: Future[tuple[float, str]]

    def answers() -> bool:
        if command.done():
            command.result()  # raises what went wrong
        try:
            return probe.ask(domain, stack.health, address=address, trust=trust).status == 200
        except (OSError, http.client.HTTPException):
            return False

    with ThreadPoolExecutor(1) as threads:
        began = time.monotonic()
        command = threads.submit(timed, argv, stdin=stdin)
        until(answers, SECONDS, f"https://{domain}{stack.health}")
        answered = time.monotonic() - began
        return answered, command.result()[0]
