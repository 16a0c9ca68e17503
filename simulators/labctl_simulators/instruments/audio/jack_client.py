"""The one place that touches JACK: a client whose outputs are a function of its inputs, block by block."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]

PAUSE_S = 0.05


@contextmanager
def joined(
    server: str,
    name: str,
    n_inputs: int,
    n_outputs: int,
    process: Callable[[Block], Block],
    within_s: float,
) -> Generator[str | None]:
    """Take part in the graph of `server`, once that is there; yield None, or what is wrong when that is too late."""
    client: Any = None
    try:
        client = _client(server, name, within_s)
        heard = [client.inports.register(f"output_{number + 1}") for number in range(n_inputs)]
        said = [client.outports.register(f"input_{number + 1}") for number in range(n_outputs)]

        def callback(n_frames: int) -> None:
            block = np.empty((n_frames, n_inputs), dtype=np.float32)
            for number, port in enumerate(heard):
                block[:, number] = port.get_array()
            answer = process(block)
            for number, port in enumerate(said):
                port.get_array()[:] = answer[:, number]

        client.set_process_callback(callback)
        client.activate()
    except JackFailedError as error:
        yield str(error)
        return
    try:
        yield None
    finally:
        client.deactivate()
        client.close()


class JackFailedError(Exception):
    """JACK or its Python client is missing, or does not answer."""


def _client(server: str, name: str, within_s: float) -> Any:
    try:
        import jack
    except (ImportError, OSError) as error:
        raise JackFailedError(
            f"the virtual bench needs JACK and its Python client ({error}); pip install JACK-Client, "
            "and on Debian apt-get install jackd2"
        ) from error
    library: Any = jack
    library.set_error_function(_quiet)
    library.set_info_function(_quiet)
    deadline_s = time.monotonic() + within_s
    while True:
        try:
            return library.Client(name, servername=server, no_start_server=True)
        except library.JackError as error:
            if time.monotonic() > deadline_s:
                raise JackFailedError(f"the JACK server '{server}' does not answer: {error}") from error
        time.sleep(PAUSE_S)


def _quiet(_: str) -> None:
    """Take what JACK would write to standard error."""
