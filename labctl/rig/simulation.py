"""Virtual instruments in place of those of a rig: on the real wire, all on one simulated piece of physics."""

from collections.abc import Generator
from contextlib import contextmanager

from labctl.config.loading import LoadedRig
from labctl.config.placing import errors_at
from labctl.contract.simulator import BenchSimulator, SettingsByName, VirtualBench
from labctl.rig.drivers import SIMULATORS, bench_simulator, installed
from labctl.rig.rig import build_rig


def bench_for(rig: LoadedRig) -> str:
    """Return the driver, or kind, of the simulated instrument or layer that virtual ones in place of `rig`'s measure.

    Raises `ConfigError` when none of its instruments has a virtual counterpart.
    """
    drivers = [str(body["driver"]) for body in rig.rig.instruments.values()]
    for name in installed(SIMULATORS):
        if any(driver in bench_simulator(name).drivers for driver in drivers):
            return name
    raise rig.document.error(("instruments",), "none of these has a virtual counterpart, so there is none to simulate")


@contextmanager
def simulated(rig: LoadedRig, physics: LoadedRig, at: SettingsByName) -> Generator[SettingsByName]:
    """Serve a virtual instrument for each of `rig` that can have one, and yield the settings that lead to them.

    `physics` is a rig file with the one simulated instrument or layer that they all measure; `at` has settings that led
    to them before, so that they are there again. Raises `ConfigError`.
    """
    build_rig(rig)
    kind = bench_simulator(bench_for(rig))
    for name, body in rig.rig.instruments.items():
        if "address" in body and body["driver"] not in kind.drivers:
            message = f"no virtual instrument speaks as {body['driver']}; there are: {', '.join(sorted(kind.drivers))}"
            raise rig.document.error(("instruments", name, "driver"), message)
    bodies = {name: body for name, body in rig.rig.instruments.items() if body["driver"] in kind.drivers}
    bench = _bench(kind, bench_for(rig), physics)
    try:
        with errors_at(rig.document, "instruments"):
            settings = bench.start(bodies, at)
        yield settings
    finally:
        bench.stop()


def _bench(kind: BenchSimulator, driver: str, physics: LoadedRig) -> VirtualBench:
    instruments = [name for name, body in physics.rig.instruments.items() if body["driver"] == driver]
    layers = [name for name, body in physics.rig.layers.items() if body["kind"] == driver]
    if len(instruments) + len(layers) != 1:
        message = f"{len(instruments) + len(layers)} parts of {driver} that virtual ones can measure; expected one"
        raise physics.document.error(("instruments" if physics.rig.instruments else "layers",), message)
    part = "instruments" if instruments else "layers"
    (name,) = instruments or layers
    with errors_at(physics.document, part, name):
        rig = build_rig(physics)
        return kind.build(rig.instruments[name] if instruments else rig.layers[name])
