"""How a modulator and a camera follow a step from one pattern to another: how late in time, and in pictures.

The share to which a picture P shows the second pattern is its projection, (P - A)·(B - A) / |B - A|², where A and B are
pictures of either pattern long after it was shown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InstrumentError

LONG_S = 1.0
"""After so long every modulator is steady."""

MOST_LAG = 10
RESOLUTION_S = 0.002
REPEATS = 3
TOLERANCE = 0.01
"""How near to its end a step counts as settled, unless noise hides that; then `NOISES` times the noise."""

NOISES = 4.0
NOISE_PICTURES = 8

Picture = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class StepBench:
    """What a step is measured with: `show` either pattern, which takes so many seconds, `wait`, take a `picture`."""

    show: Callable[[Literal["first", "second"]], float]
    wait: Callable[[float], None]
    picture: Callable[[], Picture]


@dataclass(frozen=True, slots=True)
class Step:
    """A camera's lag in pictures, and the time in which light settles with its standard uncertainty, in seconds."""

    lag: int
    settle_s: float
    uncertainty_s: float


def measure_step(bench: StepBench, name: str, start_delay_s: float) -> Step:
    """Measure lag and settling. Raises `InstrumentError` when pictures do not follow as they should.

    An exposure begins at most `start_delay_s` after it is asked for, and a pattern is with the hardware at any time
    while it is being shown: both are taken as evenly distributed.
    """
    response = _Response(bench, name)
    lag = response.lag()
    found = [response.settle_s(lag) for _ in range(REPEATS)]
    widths = [RESOLUTION_S, start_delay_s, response.longest_show_s]
    variance = sum(width**2 for width in widths) / 12 + float(np.var(found, ddof=1)) / REPEATS
    return Step(lag, float(np.mean(found)) + start_delay_s / 2, float(np.sqrt(variance)))


class _Response:
    def __init__(self, bench: StepBench, name: str) -> None:
        self.longest_show_s = 0.0
        self._bench = bench
        self._name = name
        self._first, self._second = self._steady("first"), self._steady("second")
        self._change = self._second - self._first
        noise = np.std([self._share(self._bench.picture()) for _ in range(NOISE_PICTURES)])
        self._tolerance = max(TOLERANCE, NOISES * float(noise))

    def lag(self) -> int:
        """Return how many pictures are of the pattern before though the new one is long there."""
        self._steady("first")
        self._show("second")
        self._bench.wait(LONG_S)
        shares = np.array([self._share(self._bench.picture()) for _ in range(MOST_LAG + 1)])
        follows = shares > 0.5
        lag = int(np.argmax(follows))
        if not follows[lag:].all() or self._tolerance < abs(shares[-1] - 1.0):
            listed = ", ".join(f"{share:.2f}" for share in shares)
            cause = f"pictures long after a step show it to shares of {listed}: they should be 0, then 1"
            raise InstrumentError(self._name, cause, command="calibrate")
        return lag

    def settle_s(self, lag: int) -> float:
        """Return after which time an exposure shows the new pattern alone, by bisection."""
        early_s, late_s = 0.0, LONG_S
        while late_s - early_s > RESOLUTION_S:
            middle_s = (early_s + late_s) / 2
            if self._is_settled(middle_s, lag):
                late_s = middle_s
            else:
                early_s = middle_s
        return (early_s + late_s) / 2

    def _is_settled(self, after_s: float, lag: int) -> bool:
        self._show("first")
        self._bench.wait(LONG_S)
        for _ in range(lag + 1):
            self._bench.picture()
        self._show("second")
        self._bench.wait(after_s)
        # The first exposure counts; what it gives comes `lag` pictures later.
        pictures = [self._bench.picture() for _ in range(lag + 1)]
        return self._share(pictures[-1]) >= 1.0 - self._tolerance

    def _steady(self, which: Literal["first", "second"]) -> Picture:
        self._show(which)
        self._bench.wait(LONG_S)
        for _ in range(MOST_LAG):
            self._bench.picture()
        return self._bench.picture()

    def _show(self, which: Literal["first", "second"]) -> None:
        self.longest_show_s = max(self.longest_show_s, self._bench.show(which))

    def _share(self, picture: Picture) -> float:
        return float(np.vdot(picture - self._first, self._change) / np.vdot(self._change, self._change))
