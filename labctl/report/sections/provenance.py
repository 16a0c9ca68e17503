"""Where the result comes from: what was trained, on what, with which software, as which files said."""

from collections.abc import Mapping
from typing import Any

from labctl.report.facts import RunFacts
from labctl.report.markup import Markup, definitions, element, paragraph, section, together


def provenance(facts: RunFacts) -> Markup:
    """Return the section on provenance, with the files as they were written."""
    files = [_file("experiment.yaml", facts.meta["experiment"])]
    files += [_file(f"rig-{role}.yaml", rig) for role, rig in facts.meta["rigs"].items()]
    return section(
        "Provenance",
        paragraph(_digital_only(facts)),
        definitions(_experiment(facts) + _bench(facts) + _machine(facts.meta["provenance"])),
        *files,
        _details("Package versions", ", ".join(f"{n} {v}" for n, v in facts.meta["provenance"]["packages"].items())),
    )


def _digital_only(facts: RunFacts) -> Markup:
    statement = element("strong", "Digital weights only: learning changed no parameter of the hardware.")
    by_layer: dict[str, list[str]] = {}
    for state in facts.states:
        by_layer.setdefault(state.layer, []).append(state.state_id)
    states = [
        f" Every pass of {layer} was measured in state {ids[0]}."
        if len(set(ids)) == 1
        else f" Beware: {layer} was measured in {len(set(ids))} states, {', '.join(dict.fromkeys(ids))}."
        for layer, ids in by_layer.items()
    ]
    return together([statement, *states])


def _experiment(facts: RunFacts) -> list[tuple[object, object]]:
    meta = facts.meta
    resolved, data = meta["resolved"], meta["data"]
    overrides = [each for file in (meta["experiment"], *meta["rigs"].values()) for each in file.get("overrides", ())]
    source = resolved["data"]
    return [
        *_replayed(facts),
        ("Experiment", meta["experiment"]["path"]),
        ("Overrides", ", ".join(map(str, overrides)) if overrides else "none"),
        ("Training", f"{resolved['training']['rule']}, schedule {resolved['training']['schedule']}"),
        ("Starting weights", resolved["training"].get("init_from", "drawn from the seed")),
        ("Seeds", f"experiment {resolved['seed']}, split {source['split_seed']}"),
        ("Data", f"{source['source']}: {data['train']:,} samples to train, {data['test']:,} to test"),
        ("Data fingerprint", element("code", data["fingerprint"])),
    ]


def _bench(facts: RunFacts) -> list[tuple[object, object]]:
    calibrations = facts.meta.get("calibrations", {})
    instruments = [(f"Instrument {name}", who) for name, who in facts.instruments.items()]
    files = [(f"Calibration of {part}", f"{of['file']}, SHA-256 {of['sha256']}") for part, of in calibrations.items()]
    return [*instruments, *files]


def _replayed(facts: RunFacts) -> list[tuple[object, object]]:
    origin = facts.replayed
    if origin is None:
        return []
    measured = "" if origin["measured_by"] == origin["run"] else f", measured by {origin['measured_by']}"
    words = f"{origin['run']}, begun {origin['created']}: {origin['passes']:,} recorded passes{measured}"
    return [("Responses from the record of", words)]


def _machine(origin: Mapping[str, Any]) -> list[tuple[object, object]]:
    arithmetic = origin["arithmetic"]
    blas = arithmetic["blas"]
    kernels = ", ".join(str(kernel) for kernel in blas["kernels"])
    compiled = f"; updates compiled by numba {arithmetic['compiler']['numba']}" if "compiler" in arithmetic else ""
    environment = ", ".join(f"{name}={value}" for name, value in origin["environment"].items())
    return [
        ("Software", f"labctl {origin['packages'].get('labctl', '?')}, Python {origin['python']}"),
        ("Machine", f"{origin['host']}, {arithmetic['cpu'] or arithmetic['machine']}, {origin['platform']}"),
        ("Arithmetic", f"numpy {arithmetic['numpy']}, {blas['name']} {blas['version']} ({kernels}){compiled}"),
        ("Environment", environment or "nothing set that bears on arithmetic or labctl"),
    ]


def _file(name: str, source: Mapping[str, Any]) -> Markup:
    return _details(f"{name} as written", element("pre", element("code", source["text"])))


def _details(summary: str, content: object) -> Markup:
    return element("details", element("summary", summary), content)
