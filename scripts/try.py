"""What `make try` does: from nothing to a blog over HTTPS, on a lab, with the time of each step.

Every step is a command that an operator types; `ronron lab down` removes it all again.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

SITE = Path("try")
DOMAIN = "blog.lab.localhost"


def main() -> int:
    """Run the steps, then print what was seen."""
    times: list[tuple[str, float]] = []
    answer: dict[str, object] = {}
    steps = [
        ("lab", ["lab", "up", "--servers", "3"]),
        ("site", ["lab", "site", str(SITE)]),
        ("apply", ["--site", str(SITE), "apply", "--yes"]),
        ("deploy", [*("--site", str(SITE), "deploy", "ghost", "blog"), *("--domain", DOMAIN),
                    *("--timeout", "600", "--yes", "--json")]),
    ]  # fmt: skip
    for name, arguments in steps:
        print(f"\n$ ronron {shlex.join(arguments)}", flush=True)
        began = time.monotonic()
        argv = [sys.executable, "-m", "ronron", *arguments]
        done = subprocess.run(argv, stdout=subprocess.PIPE if name == "deploy" else None)
        times.append((name, time.monotonic() - began))
        if done.returncode:
            print(f"make try: ronron {arguments[0]} failed; see above", file=sys.stderr)
            return done.returncode
        if name == "deploy":
            answer = json.loads(done.stdout)["answer"]
    lab = json.loads(
        subprocess.run(
            [sys.executable, "-m", "ronron", "lab", "status", "--json"],
            capture_output=True,
            check=True,
        ).stdout
    )
    print(f"\nThe blog answers: https://{DOMAIN}:{lab['https_port']}/ (in a browser here)")
    print(f"  certificate   by {answer['issuer']} until {answer['expires']}, {answer['tls']}")
    print(f"  HTTP status   {answer['status']} over verified TLS")
    for name, seconds in times:
        print(f"  {name:<13} {seconds:6.1f} s")
    print(f"  {'in all':<13} {sum(seconds for _, seconds in times):6.1f} s")
    print(f"\nLook around: .venv/bin/ronron --site {SITE} status")
    print("Remove every trace: .venv/bin/ronron lab down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
