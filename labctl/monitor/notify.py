"""Tells somebody what has become of a run, by a command or a web address, without ever waiting for either.

`python -m labctl.monitor.notify` does it in a process of its own, which outlives the run if need be.
"""

import json
import logging
import platform
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from typing import Any

from labctl.config.unattended import Notify

PATIENCE_S = 30.0

_log = logging.getLogger(__name__)


def facts_of(run: str, state: str, reason: str | None, **more: object) -> dict[str, object]:
    """Return what is told of a run, JSON values: `state` is a word of `labctl status`, `reason` why it is in it."""
    return {"run": run, "host": platform.node(), "state": state, "reason": reason, **more}


def notify(settings: Notify | None, facts: Mapping[str, Any]) -> None:
    """Begin to tell `facts`, JSON values, as `settings` say, and return at once. Never raises."""
    if settings is None:
        return
    message = json.dumps({"notify": settings.model_dump(mode="json"), "facts": facts})
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "labctl.monitor.notify"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if process.stdin is not None:
            process.stdin.write(message.encode())
            process.stdin.close()
        process.returncode = 0  # nobody waits for it
    except OSError as error:
        _log.warning("nobody could be told: %s", error)


def main() -> None:
    """Tell what standard input says: the command gets the facts on its own standard input, the address by POST."""
    message = json.loads(sys.stdin.read())
    body = json.dumps(message["facts"]).encode()
    if command := message["notify"]["command"]:
        subprocess.run(command, input=body, timeout=PATIENCE_S, check=False)  # noqa: S603 - the person's own
    if address := message["notify"]["webhook"]:
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310 - http(s) is checked where it is read
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()  # noqa: S310 - as above


if __name__ == "__main__":
    main()
