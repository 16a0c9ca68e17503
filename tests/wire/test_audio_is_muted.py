"""Sound ends when whoever plays it is killed or hangs, at any moment."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.moments import moments
from tests.wire.audio_bench import Wired, wired

MUTED_WITHIN_S = 2.0
ROOT = Path(__file__).parents[2]

PLAY = textwrap.dedent("""
    import json, os, sys
    sys.path.insert(0, sys.argv[1])
    from tests.wire.audio_bench import DRIVER, bursts, context
    interface = DRIVER.build(DRIVER.settings.model_validate(json.loads(sys.argv[2])), context("interface"))
    interface.open()
    print(interface.engine_pid, flush=True)
    while True:
        for recording in interface.exchange(bursts(20, n_samples=4000)):
            pass
""")

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")


@pytest.fixture(scope="module")
def audio() -> Iterator[Wired]:
    with wired(patience_s=0.25) as bench:
        yield bench


@pytest.mark.parametrize("moment", moments(3))
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
@pytest.mark.parametrize("whom", ["player", "engine"])
def test_sound_ends(audio: Wired, whom: str, how: str, moment: int) -> None:
    import json

    command = [sys.executable, "-c", PLAY, str(ROOT), json.dumps(audio.settings)]
    player = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
    assert player.stdout is not None
    engine = int(player.stdout.readline())
    try:
        while audio.bench.tell()["silent_s"] > 0.1:
            time.sleep(0.01)
        time.sleep(random.Random(moment).uniform(0.0, 0.5))
        os.kill(player.pid if whom == "player" else engine, getattr(signal, how))
        struck_s = time.monotonic()
        time.sleep(MUTED_WITHIN_S)
        assert audio.bench.tell()["sounded_s"] < struck_s + MUTED_WITHIN_S
        time.sleep(0.2)
        assert audio.bench.tell()["silent_s"] > 0.2
    finally:
        player.kill()
        player.wait()
        player.stdout.close()
        ended_s = time.monotonic() + 5.0
        while _lives(engine) and time.monotonic() < ended_s:
            time.sleep(0.02)
        assert not _lives(engine)


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
