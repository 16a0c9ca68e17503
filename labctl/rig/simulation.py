"""Virtual instruments in place of those of a rig: on the real wire, all on one simulated piece of physics."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from labctl.config.loading import LoadedRig
from labctl.config.placing import errors_at
from labctl.contract.simulator import BenchSimulator, VirtualBench
from labctl.rig.drivers import SIMULATORS, bench_simulator, installed
from labctl.rig.rig import build_rig


@contextmanager
def simulated(rig: LoadedRig, physics: LoadedRig, at: Mapping[str, str]) -> Generator[Mapping[str, str]]:
    """Serve a virtual instrument for each of `rig` that has an address, and yield their addresses by name.

    `physics` is a rig file with the one simulated instrument that they all measure; `at` names addresses to take again
    where they are free. Raises `ConfigError`.
    """
    build_rig(rig)
    bodies = {name: body for name, body in rig.rig.instruments.items() if "address" in body}
    if not bodies:
        raise rig.document.error(("instruments",), "no instrument has an address, so there is none to simulate")
    kind, bench = _bench(physics)
    for name, body in bodies.items():
        if body["driver"] not in kind.drivers:
            message = f"no virtual instrument speaks as {body['driver']}; there are: {', '.join(sorted(kind.drivers))}"
            raise rig.document.error(("instruments", name, "driver"), message)
    try:
        with errors_at(rig.document, "instruments"):
            addresses = bench.start(bodies, at)
        yield addresses
    finally:
        bench.stop()


def _bench(physics: LoadedRig) -> tuple[BenchSimulator, VirtualBench]:
    known = installed(SIMULATORS)
    names = [name for name, body in physics.rig.instruments.items() if body["driver"] in known]
    if len(names) != 1:
        wanted = ", ".join(known) or "none, since no package with benches is installed"
        message = f"{len(names)} instruments that virtual ones can measure; expected one, of driver {wanted}"
        raise physics.document.error(("instruments",), message)
    (name,) = names
    with errors_at(physics.document, "instruments", name):
        kind = bench_simulator(str(physics.rig.instruments[name]["driver"]))
        return kind, kind.build(build_rig(physics).instruments[name])
