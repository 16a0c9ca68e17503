"""How often a fault strikes, each time at a moment of its own: a few times in every test run, more when asked to.

`LABCTL_MOMENTS=50 pytest tests/wire/test_audio_is_muted.py` asks for 50 of each kind.
"""

import os


def moments(few: int) -> range:
    """Return the numbers of the moments, `few` unless LABCTL_MOMENTS says how many."""
    return range(int(os.environ.get("LABCTL_MOMENTS", few)))
