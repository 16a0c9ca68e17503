"""Digital work of a run, and the energy of its arithmetic."""

from collections.abc import Mapping

from labctl.record.reader import LogReader

MAC_J = 4.6e-12
"""Energy of a 32-bit multiply-accumulate: 3.7 pJ to multiply and 0.9 pJ to add in 45 nm (Horowitz, ISSCC 2014, p. 10).

The arithmetic alone: fetching the numbers costs a computer ten to a thousand times as much.
"""


def digital_work(reader: LogReader) -> Mapping[str, int] | None:
    """Return multiply-accumulates by kind, or None of a run that has not been tested or has not counted them.

    `forward`, `update` and `twin` are training's, `scoring` those of the test; `encoding` is what the mixing matrices
    of encoders took for all passes so far, n_inputs x width for each response.
    """
    test = next((event.detail for event in reader.events() if event.kind == "test"), None)
    checkpoint = reader.latest_checkpoint()
    if test is None or "macs" not in test or checkpoint is None:
        return None
    blocks = reader.meta()["resolved"]["network"]["blocks"]
    encoding = 0
    for block, passes in reader.count_by_block().items():
        mixing = checkpoint.arrays.get(f"block{block}.encoder.mixing")
        if mixing is not None:
            encoding += passes // int(blocks[block].get("reads", 1)) * mixing.size
    return {**test["macs"], "encoding": encoding}


def arithmetic_j(work: Mapping[str, int]) -> float:
    """Return the energy of the arithmetic in joules."""
    return MAC_J * sum(work.values())
