"""A driver package, installed the way a laboratory's own is: found by its entry points alone."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labctl.config.loading import LoadedRig, load_rig

PACKAGE = '''\
"""Instruments and layers that note in `HAPPENED` what is done to them, and fail when their settings say so."""

from labctl.contract.driver import Instrument, InstrumentDriver, LayerDriver, Settings, pick_instrument
from labctl.contract.errors import InputError, InstrumentError
from labctl.contract.units import Seconds
from labctl.testing.layers import InstantLayer

HAPPENED = []


class Attenuation(Settings):
    level: float = 0.0
    settle: Seconds = 0.1
    fails: tuple[str, ...] = ()
    error: str = "InstrumentError"


class Attenuator:
    def __init__(self, settings, context):
        if settings.level > 90:
            raise InputError(f"instrument '{context.name}': {settings.level:g} dB is more than it can do")
        self.name, self.settings, self.context = context.name, settings, context

    def _do(self, action):
        HAPPENED.append((action, self.name))
        if action in self.settings.fails:
            if self.settings.error == "InstrumentError":
                raise InstrumentError(self.name, "no answer", command=action)
            raise {"KeyboardInterrupt": KeyboardInterrupt, "OSError": OSError}[self.settings.error](action)

    def open(self):
        self._do("open")

    def make_safe(self):
        self._do("make_safe")

    def close(self):
        self._do("close")


class BoxSettings(Settings):
    through: str | None = None
    fails: tuple[str, ...] = ()
    error: str = "InstrumentError"


class Box(InstantLayer):
    def __init__(self, settings, instruments, context):
        super().__init__(3, 2, name=context.name)
        if settings.through is not None:
            pick_instrument(instruments, settings.through, Attenuator, context.name)
        self.part = Attenuator(Attenuation(fails=settings.fails, error=settings.error), context)

    def open(self):
        self.part.open()

    def make_safe(self):
        self.part.make_safe()

    def close(self):
        self.part.close()


ATTENUATOR = InstrumentDriver(Attenuation, Attenuator)
BOX = LayerDriver(BoxSettings, Box)
NOT_A_DRIVER = object()
'''

ENTRY_POINTS = """\
[labctl.instruments]
attenuator.test = rig_test_package:ATTENUATOR
wrong.kind = rig_test_package:NOT_A_DRIVER
gone = rig_test_package.removed:ATTENUATOR
renamed = rig_test_package:SPECTRUM

[labctl.layers]
test-box = rig_test_package:BOX
"""


@pytest.fixture
def happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """Install the package for one test; return the list of what is done to its parts."""
    site = tmp_path / "site"
    info = site / "rig_test_package-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rig-test-package\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")
    (site / "rig_test_package.py").write_text(PACKAGE, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    import rig_test_package  # pyright: ignore[reportMissingImports] - it exists from the lines above on

    yield rig_test_package.HAPPENED  # pyright: ignore[reportUnknownMemberType]
    del sys.modules["rig_test_package"]


@pytest.fixture
def read_rig(tmp_path: Path) -> Callable[..., LoadedRig]:
    """Read a rig of `instruments` and `layers` (YAML lines, each starting at line 6 and after)."""

    def read(instruments: str = "", layers: str = "  box: {kind: test-box}", *, file: str = "rig.yaml") -> LoadedRig:
        head = "schema: labctl/rig/1\nname: bench\ntime_scale: instant\n"
        body = f"instruments:\n{instruments}\n" if instruments else ""
        (tmp_path / file).write_text(f"{head}{body}layers:\n{layers}\n", encoding="utf-8")
        return load_rig(tmp_path / file)

    return read
