"""Virtual instruments in place of those of a rig: on the real wire, all on one simulated piece of physics."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from labctl.config.document import Document
from labctl.config.examples import examples_folder
from labctl.config.loading import LoadedRig, load_rig
from labctl.config.placing import errors_at
from labctl.contract.simulator import BenchSimulator, VirtualBench
from labctl.rig.drivers import SIMULATORS, bench_simulator, installed
from labctl.rig.rig import build_rig

Places = Mapping[str, Mapping[str, Any]]
"""By the names of instruments: settings that lead to virtual ones, an address or the like first."""


@contextmanager
def simulated(rig: LoadedRig, physics: LoadedRig | None, at: Places) -> Generator[Places]:
    """Serve a virtual instrument for each of `rig` that has an address, and yield what leads to them.

    `physics` is a rig file with the one simulated instrument or layer that they all measure, for None the example of
    whatever bench speaks as they do; `at` holds places to take again where they are free. Raises `ConfigError`.
    """
    build_rig(rig)
    speaking = {str(body["driver"]) for body in rig.rig.instruments.values()}
    kind, bench = _bench(physics or _example(speaking))
    bodies = {
        name: body for name, body in rig.rig.instruments.items() if "address" in body or body["driver"] in kind.drivers
    }
    if not bodies:
        raise rig.document.error(("instruments",), "no instrument has an address, so there is none to simulate")
    _require_known(rig.document, bodies, kind)
    try:
        with errors_at(rig.document, "instruments"):
            places = bench.start(bodies, at)
        yield places
    finally:
        bench.stop()


def _require_known(document: Document, bodies: Places, kind: BenchSimulator) -> None:
    for name, body in bodies.items():
        if body["driver"] not in kind.drivers:
            message = f"no virtual instrument speaks as {body['driver']}; there are: {', '.join(sorted(kind.drivers))}"
            raise document.error(("instruments", name, "driver"), message)


def _example(speaking: set[str]) -> LoadedRig:
    """Return the example with physics for instruments of these drivers."""
    benches = [bench_simulator(name) for name in installed(SIMULATORS)]
    best = max(benches, key=lambda bench: len(bench.drivers & speaking))
    return load_rig(examples_folder() / "rigs" / best.example)


def _bench(physics: LoadedRig) -> tuple[BenchSimulator, VirtualBench]:
    known = installed(SIMULATORS)
    instruments = [("instruments", name, body["driver"]) for name, body in physics.rig.instruments.items()]
    layers = [("layers", name, body["kind"]) for name, body in physics.rig.layers.items()]
    found = [(part, name, str(driver)) for part, name, driver in [*instruments, *layers] if driver in known]
    if len(found) != 1:
        wanted = ", ".join(known) or "none, since no package with benches is installed"
        message = f"{len(found)} instruments or layers that virtual ones can measure; expected one: {wanted}"
        raise physics.document.error(("instruments",) if physics.rig.instruments else ("layers",), message)
    ((part, name, driver),) = found
    with errors_at(physics.document, part, name):
        kind = bench_simulator(driver)
        built = build_rig(physics)
        return kind, kind.build(built.instruments[name] if part == "instruments" else built.layers[name])
