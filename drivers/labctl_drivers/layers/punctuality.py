"""Tells pictures that came so late that the pattern after their own may be in them."""

LATE = 0.25
LATE_S = 0.005
"""A picture that comes later than others by more than this share of its exposure, and by more than this time, which a
computer may take to notice, may have been exposed too late."""

CAREFUL = 50
"""For so many rows after such a picture none is shown while another is read."""


class Punctuality:
    """Knows how long pictures of an exposure of `exposure_s` take to arrive at best, and when to wait for them."""

    def __init__(self, exposure_s: float) -> None:
        self._most_s = max(LATE * exposure_s, LATE_S)
        self._quickest_s = float("inf")
        self._careful = 0

    def begin_row(self) -> bool:
        """Return whether the pattern after this row's may be shown while its picture is read."""
        self._careful = max(0, self._careful - 1)
        return self._careful == 0

    def late_s(self, waited_s: float) -> float:
        """Return by how much a picture was later than others, from the end of its exposure on, 0 if not too late."""
        after_s = waited_s - self._quickest_s
        self._quickest_s = min(self._quickest_s, waited_s)
        return after_s if after_s > self._most_s else 0.0

    def be_careful(self) -> None:
        """Let the next `CAREFUL` rows wait for their pictures: without another pattern a late one is right."""
        self._careful = CAREFUL
