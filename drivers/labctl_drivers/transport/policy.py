"""How often a link is reopened and a step done again after a fault, and how often that was needed."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import Field

from labctl.contract.driver import Settings
from labctl.contract.units import Seconds
from labctl_drivers.transport.link import LinkError, LinkGarbledError, LinkLostError, LinkTimeoutError

ResultT = TypeVar("ResultT")


class Recovery(Settings):
    """What is done about faults. Every number is a bound; a fault beyond them is raised."""

    attempts: int = Field(default=3, ge=1, le=20, description="how often a link is reopened before it counts as lost")
    backoff_s: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        alias="backoff", default=0.1, description="pause before the second attempt; it doubles from one to the next"
    )
    repeats: int = Field(default=0, ge=0, le=20, description="how often a step that failed on the link is done again")

    def pauses_s(self) -> Iterator[float]:
        """Yield the pause before each attempt; none before the first."""
        yield 0.0
        for doublings in range(self.attempts - 1):
            yield self.backoff_s * 2**doublings


@dataclass
class LinkCounts:
    """What happened on a link since it was built: faults by the name of their class, recoveries, repeated steps."""

    faults: Counter[str] = field(default_factory=Counter[str])
    recoveries: int = 0
    repeats: int = 0


def repeated(step: Callable[[], ResultT], recovery: Recovery, counts: LinkCounts) -> ResultT:
    """Return what `step` returns; after a fault on its link do it again, at most `recovery.repeats` times.

    The step must set absolute states, so that doing it twice leaves the instrument as doing it once. It never meets
    the rest of its first try: after a fault a link resynchronises or reopens, and identifies, before it sends anything.
    Raises the last fault, and a refused connection at once.
    """
    for _ in range(recovery.repeats):
        try:
            return step()
        except (LinkTimeoutError, LinkLostError, LinkGarbledError):
            counts.repeats += 1
    return step()


def attempted(attempt: Callable[[], None], recovery: Recovery, sleep_s: Callable[[float], None]) -> None:
    """Call `attempt` until it raises no `LinkError`, with growing pauses; raise that of the last attempt."""
    failure: LinkError | None = None
    for pause_s in recovery.pauses_s():
        sleep_s(pause_s)
        try:
            attempt()
        except LinkError as error:
            failure = error
        else:
            return
    if failure is not None:
        raise failure
