"""What holds a bench up for a while, such as an open door."""


class Holdup:
    """Why hardware must rest, by who says so. Set from the first reason until `end`. Usable from several threads."""

    def __init__(self) -> None:
        self._reasons: dict[str, tuple[str, float]] = {}
        self._is_set = False

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what there is against going on now."""
        return tuple(reason for reason, _ in self._reasons.values())

    @property
    def longest_s(self) -> float:
        """Return how long it may last at most until one of those who have something against it ends the run."""
        return min((longest_s for _, longest_s in self._reasons.values()), default=0.0)

    def tell(self, name: str, reason: str | None, longest_s: float) -> None:
        """Take over what `name` has against going on, None for nothing, and how long it lets a run wait for that."""
        if reason is None:
            self._reasons.pop(name, None)
            return
        self._reasons[name] = reason, longest_s
        self._is_set = True

    def is_set(self) -> bool:
        """Return whether hardware must rest, or has to be brought back from a rest."""
        return self._is_set

    def end(self) -> None:
        """Take note that hardware works again."""
        self._is_set = False
