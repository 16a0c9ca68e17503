from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.wire.small_bench import SERVERS, Bench, SmallInstrument, StartBench, link_to


@pytest.fixture(params=sorted(SERVERS))
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def start_bench() -> Iterator[StartBench]:
    with ExitStack() as stack:

        def start(transport: str, instrument: SmallInstrument | None = None, **settings: Any) -> Bench:
            instrument = instrument or SmallInstrument()
            server = stack.enter_context(SERVERS[transport](instrument))
            link = link_to(server.address, **settings)
            stack.callback(link.close)
            link.open()
            return Bench(instrument, server, link)

        yield start


@pytest.fixture
def bench(start_bench: StartBench, transport: str) -> Bench:
    return start_bench(transport)
