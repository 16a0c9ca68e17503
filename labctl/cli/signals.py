"""What a person who asks a command to stop is told at once."""

import os

_STANDARD_ERROR = 2
_MESSAGE = b"\nlabctl: stopping after the pass under way; ask once more to stop at once\n"


def say_stopping() -> None:
    """Acknowledge a request to stop; called from a signal handler, where buffered output may be half written."""
    os.write(_STANDARD_ERROR, _MESSAGE)
