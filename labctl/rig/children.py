"""Starts the processes of a rig: fresh interpreters that Ctrl-C does not reach and that see when their parent ends.

A child talks over its standard input and output: nobody else can, and on every system both ends hear when the other is
gone. What it has to say to people goes to standard error.
"""

import logging
import os
import re
import signal
import subprocess
import sys
from typing import IO

ALL_SAFE = "all is safe"
"""Said last by a host or guard that ends without being told to, once it is so."""

_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_FORMAT = "%(levelname)s %(name)s: %(message)s"
_LINE = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) ([\w.]+): (.*)")


def start_child(module: str, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """Run `module` in a new interpreter, which imports from where this one does, in a session of its own."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(  # noqa: S603 - this interpreter and a module of this package
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        creationflags=_NEW_GROUP,
    )


def outlive_signals() -> None:
    """Ignore what asks a process to stop: the orchestrator hears it and decides; a child ends when its parent does."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number: signal.Signals | None = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def log_to_stderr() -> None:
    """Log so that `relay` understands it; what cannot be written because nobody is left to read it is dropped."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stderr)
    logging.raiseExceptions = False


def relay(stderr: IO[bytes], said: list[str]) -> None:
    """Log here what children say until they have all ended; add to `said` what host and guard warned of."""
    for raw in stderr:
        line = raw.decode(errors="replace").rstrip()
        match = _LINE.fullmatch(line)
        level, name, text = match.groups() if match else ("INFO", __name__, line)
        logging.getLogger(name).log(logging.getLevelNamesMapping()[level], "%s", text)
        if level != "INFO" and name in ("labctl.rig.host", "labctl.rig.guard"):
            said.append(text)
