"""Disturbs a run as its experiment plans, to see what a learning rule makes of it.

Changes of channels are arithmetic on responses, done before these are recorded: the record holds what the rule learnt
from, so that resuming and verifying need nothing else, and an event says from which row on it is so. Changes of a
medium are left to simulated layers and instruments that offer them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from labctl.config.disturbances import AFTER_TRAINING, Disturbance, in_words
from labctl.config.experiment import Experiment
from labctl.config.loading import LoadedExperiment
from labctl.config.placing import errors_at
from labctl.contract.disturbances import ChannelChange, ChannelChanges, Disturbable, MediumChange, Planned
from labctl.contract.errors import SettingError, blaming
from labctl.contract.layer import Responses
from labctl.orchestrator.assembly import Bench
from labctl.record.writer import Note

DISTURBED = "disturbed"

_NOT_YET = 2**62
"""The row of what comes after a training that still goes on."""


@dataclass(frozen=True)
class _Placed:
    """A disturbance and the blocks it befalls; `target` undergoes it, None where responses are changed."""

    disturbance: Disturbance
    blocks: frozenset[int]
    target: Disturbable | None


def check_disturbances(loaded: LoadedExperiment, bench: Bench) -> None:
    """Raise `ConfigError` for a disturbance that cannot befall the layer it is planned for."""
    with errors_at(loaded.document, "disturbances"):
        Disturber(loaded.experiment, bench)


class Disturber:
    """Carries out the plan of an experiment on its bench. `note` is told of each disturbance when it is first met."""

    def __init__(
        self, experiment: Experiment, bench: Bench, note: Note | None = None, already_noted: Iterable[int] = ()
    ) -> None:
        """`already_noted` are places in the plan. Raises `SettingError` for what is not possible, at its place."""
        self._seed = experiment.seed
        self._bench = bench
        self._note = note
        self._noted = set(already_noted)
        self._plan = [_placed(experiment, bench, place) for place in range(len(experiment.disturbances))]
        self._rows = [each.at if isinstance(each.at, int) else _NOT_YET for each in experiment.disturbances]
        self._changes = self._channel_changes()

    def begin(self) -> None:
        """Tell media what is to befall them at rows known beforehand."""
        for place, each in enumerate(self._plan):
            if each.disturbance.at != AFTER_TRAINING:
                self._tell_medium(place)

    def training_ends(self, next_id: int) -> None:
        """Let what comes after training befall rows from `next_id` on."""
        for place, each in enumerate(self._plan):
            if each.disturbance.at == AFTER_TRAINING:
                self._rows[place] = next_id
                self._tell_medium(place)
        self._changes = self._channel_changes()

    def disturbed(self, block: int, chunk: Responses) -> Responses:
        """Return measured rows of a block as they are to be taken for what was measured."""
        if not self._plan or not len(chunk.ids):
            return chunk
        for place, each in enumerate(self._plan):
            if block in each.blocks and chunk.ids[-1] >= self._rows[place] and place not in self._noted:
                self._tell(place, int(chunk.ids[chunk.ids >= self._rows[place]][0]))
        return replace(chunk, values=self._changes[block].apply(chunk.values, chunk.ids))

    def _channel_changes(self) -> list[ChannelChanges]:
        """Return what is done to the responses of each block; random numbers go by the place in the whole plan."""
        return [
            ChannelChanges(
                [
                    Planned(row, each.disturbance) if block in each.blocks else None
                    for row, each in zip(self._rows, self._plan, strict=True)
                ],
                self._seed,
                [channel.name for channel in info.outputs],
            )
            for block, info in enumerate(self._bench.infos)
        ]

    def _tell_medium(self, place: int) -> None:
        target = self._plan[place].target
        if target is not None:
            target.disturb(Planned(self._rows[place], self._plan[place].disturbance))

    def _tell(self, place: int, first_id: int) -> None:
        each = self._plan[place]
        self._noted.add(place)
        if self._note is not None:
            how = "responses changed by arithmetic" if each.target is None else "simulated medium changed"
            facts = {"place": place, "what": in_words(each.disturbance), "how": how, "first_id": first_id}
            self._note(DISTURBED, {**facts, "blocks": sorted(each.blocks)})


def _placed(experiment: Experiment, bench: Bench, place: int) -> _Placed:
    """Return one disturbance of the plan with what it befalls. Raises `SettingError` at its place."""
    disturbance = experiment.disturbances[place]
    names = [block.layer for block in experiment.network.blocks]
    layer = disturbance.layer
    with blaming(place):
        if layer is None and len(set(names)) > 1:
            raise SettingError((), f'the network has several layers; expected "layer", one of: {", ".join(names)}')
        if layer not in (None, *names):
            raise SettingError(("layer",), f"no block uses a layer '{layer}'; expected one of: {', '.join(names)}")
        blocks = frozenset(block for block, name in enumerate(names) if layer in (None, name))
        target = None if isinstance(disturbance, ChannelChange) else _target(bench, min(blocks), disturbance)
    return _Placed(disturbance, blocks, target)


def _target(bench: Bench, block: int, change: MediumChange) -> Disturbable:
    """Return the layer of a block, or the instrument of it, that can undergo a change of its medium."""
    layer = bench.layers[block]
    rig = next(rig for rig in bench.rigs.values() if layer in rig.layers.values())
    parts = [layer, *(part for name, part in rig.instruments.items() if name in layer.info.resources)]
    able = [part for part in parts if isinstance(part, Disturbable)]
    if rig.host is not None or not able:
        what = f"the medium of layer '{layer.info.name}' cannot be changed on purpose"
        why = "it is in a host process" if able else "no simulator here offers it, and hardware never does"
        raise SettingError(("kind",), f"{what}: {why}; gain, offset, dead and swapped befall any layer")
    able[0].check_disturbance(change)
    return able[0]
