"""What the processes of a rig say to people: logged to standard error, and logged again by who started them."""

import logging
import re
import sys
from typing import IO

ALL_SAFE = "all is safe"
"""Said last by a host or guard that ends without being told to, once it is so."""

_FORMAT = "%(levelname)s %(name)s: %(message)s"
_LINE = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) ([\w.]+): (.*)")


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
