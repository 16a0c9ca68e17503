"""Processes that drive hardware: fresh interpreters that Ctrl-C does not reach and that see when their parent ends.

A child talks over its standard input and output: nobody else can, and on every system both ends hear when the other is
gone. What it has to say to people goes to standard error.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import BinaryIO

from labctl.contract.messages import encode

BEAT_S = 0.2
"""How often a child hears of its parent when there is nothing to say."""

_BEAT = encode({"kind": "beat"})

_NEW_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


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


def keep_telling(stdin: BinaryIO, outgoing: SimpleQueue[bytes | None]) -> None:
    """Write what there is to say, and a beat where there is nothing, until None comes or the child is gone.

    For a thread of its own: a child that hangs must not hang who makes it safe.
    """
    with suppress(OSError), stdin:
        while True:
            try:
                data = outgoing.get(timeout=BEAT_S)
            except Empty:
                data = _BEAT
            if data is None:
                return
            stdin.write(data)
            stdin.flush()


def outlive_signals() -> None:
    """Ignore what asks a process to stop: the orchestrator hears it and decides; a child ends when its parent does."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        number: signal.Signals | None = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def own_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return standard input and output for messages alone: what drivers print goes to standard error from now on."""
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return stdin, stdout
