"""Numbers as the report words them."""

MINUS = "−"


def percent(share: float, digits: int = 1) -> str:
    """Return a share from 0 to 1 as a percentage."""
    return f"{100 * share:.{digits}f} %"


def percent_range(low: float, high: float) -> str:
    """Return two shares from 0 to 1 as a range of percentages."""
    return f"{100 * low:.1f} to {percent(high)}"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", MINUS)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number of things."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def duration(seconds: float) -> str:
    """Return a time span to about one per cent."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    days, hours_of_day = divmod(hours, 24)
    if not days:
        return f"{hours} h {minutes} min"
    return f"{count(days, 'day')} {hours_of_day} h"
