"""How often a link is reopened after a fault, and how often that was needed."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from labctl.contract.driver import Settings
from labctl.contract.units import Seconds
from labctl_drivers.transport.link import LinkError


class Recovery(Settings):
    """What is done about faults. Every number is a bound; a fault beyond them is raised."""

    attempts: int = Field(default=3, ge=1, le=20, description="how often a link is reopened before it counts as lost")
    backoff_s: Annotated[Seconds, Field(ge=0, le=60)] = Field(
        alias="backoff", default=0.1, description="pause before the second attempt; it doubles from one to the next"
    )

    def pauses_s(self) -> Iterator[float]:
        """Yield the pause before each attempt; none before the first."""
        yield 0.0
        for doublings in range(self.attempts - 1):
            yield self.backoff_s * 2**doublings


@dataclass
class LinkCounts:
    """What happened on a link since it was built: faults by the name of their class, and recoveries."""

    faults: Counter[str] = field(default_factory=Counter[str])
    recoveries: int = 0


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
