"""What an audio interface can do: play a burst on every speaker while recording every microphone.

Samples are in units of digital full scale (-1 to 1). A recording is aligned with its burst: sample k of the
recording was taken while sample k of the burst was at the converter.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from labctl.contract.driver import NamedInstrument

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SpeakerOutput:
    """One output of the interface; `max_level` is the largest sample it may play, as a fraction of full scale."""

    name: str
    max_level: float


@dataclass(frozen=True, slots=True)
class Burst:
    """Samples (n_samples, n_outputs) to play, under the id of the row they belong to."""

    id: int
    samples: Samples


@dataclass(frozen=True, slots=True)
class Recording:
    """Samples (n_samples, n_inputs) recorded while the burst of the same id was played.

    `time_s` is POSIX time at the end of the recording; `xrun` says that samples were lost, of it or of the silence
    before it, `stale` that it holds what an earlier burst sounded like. What was played at sample k is `late` samples
    (a fraction of one) after sample k.
    """

    id: int
    samples: Samples
    time_s: float
    xrun: bool
    stale: bool = False
    late: float = 0.0


@runtime_checkable
class AudioInterface(NamedInstrument, Protocol):
    """Speakers and microphones on one clock. Constructed without touching hardware."""

    @property
    def samplerate_hz(self) -> float:
        """Return the samples per second of every channel."""
        ...

    @property
    def outputs(self) -> tuple[SpeakerOutput, ...]:
        """Return the speakers, in channel order."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the microphones' names, in channel order."""
        ...

    def open(self) -> None:
        """Connect. Raises `InstrumentError`."""
        ...

    def exchange(self, bursts: Iterable[Burst]) -> Iterator[Recording]:
        """Play bursts back to back, or behind silence where one comes late, and yield one recording for each, in order.

        Bursts are pulled ahead of the hardware, so the iterable decides when to end; every burst pulled is
        played and yielded. Raises `InstrumentError`.
        """
        ...

    def make_safe(self) -> None:
        """Mute. Idempotent; may be called in any state."""
        ...
