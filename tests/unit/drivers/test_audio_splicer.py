"""What is cut out of the stream is what was played, and all that was reported of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labctl_drivers.audio.splicer import Splicer, Take

BLOCK = 32


def run(takes: list[Take], delay: int, n_blocks: int, flagged: int = -1) -> list[Take]:
    """Return the takes that finish within so many blocks over a cable; a loss is reported with the block `flagged`."""
    finished: list[Take] = []
    splicer = Splicer(16_000.0, finished.append, list, delay=delay)
    for take in takes:
        splicer.add(take)
    line = np.zeros((delay + n_blocks * BLOCK, 1), np.float32)
    for block in range(n_blocks):
        now = slice(block * BLOCK, (block + 1) * BLOCK)
        played = np.zeros((BLOCK, 1), np.float32)
        splicer.process(line[now], played, flagged=block == flagged)
        line[now.start + delay : now.stop + delay] = played
    return finished


def takes(n: int, n_samples: int, flag_wait: int = 0) -> list[Take]:
    rng = np.random.default_rng(1)
    return [Take(each, rng.random((n_samples, 1), np.float32), 1, flag_wait) for each in range(n)]


@given(n_samples=st.integers(1, 200), delay=st.integers(BLOCK, 100), flag_wait=st.integers(0, 100))
def test_what_is_heard_of_a_take_is_what_it_played(n_samples: int, delay: int, flag_wait: int) -> None:
    finished = run(takes(5, n_samples, flag_wait), delay, 50)
    assert [take.number for take in finished] == list(range(5))
    for take in finished:
        np.testing.assert_array_equal(take.heard, take.played)


@pytest.mark.parametrize(("flag_wait", "flagged"), [(0, [3]), (1, [2, 3]), (BLOCK, [2, 3]), (2 * BLOCK, [2, 3])])
def test_a_loss_that_is_reported_late_is_laid_to_what_had_just_ended(flag_wait: int, flagged: list[int]) -> None:
    """Take 2 ends with block 6; block 7 reports a loss, while take 3 is heard."""
    finished = run(takes(6, 2 * BLOCK, flag_wait), BLOCK, 50, flagged=7)
    assert [take.number for take in finished if take.flagged] == flagged
