"""Random numbers with names, so that each use has its own stream and none depends on how often another drew."""

import zlib

import numpy as np


def named_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator of the stream that `seed` and `names` identify, the same on every platform."""
    words = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
