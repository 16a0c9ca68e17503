"""What a run has spent."""

from dataclasses import dataclass, field


@dataclass
class Counters:
    """What has been spent: rows used by purpose, passes sent now, their hardware seconds, rows rejected and repeated.

    `used` counts rows from the log and from hardware alike; `sent` only what this process put through hardware, for
    `sent_hardware_s`, in which layers that are measured at once count once.
    """

    used: dict[str, int] = field(default_factory=dict[str, int])
    sent: int = 0
    last_id: int = -1
    sent_hardware_s: float = 0.0
    rejected: int = 0
    clipped_values: int = 0
