"""The price of several layers on one instrument: it changes over from one operating point to the other."""

from collections.abc import Iterable, Sequence

from labctl.contract.layer import LayerInfo


class Switching:
    """Follows which layer used each instrument last; `infos` has one entry per block."""

    def __init__(self, infos: Sequence[LayerInfo]) -> None:
        self._infos = infos
        self._users: dict[str, str] = {}

    def use(self, block: int) -> float:
        """Return the seconds it takes to change over to the layer of `block`: none if it was the last to be used."""
        info = self._infos[block]
        changes = any(self._users.get(resource, info.name) != info.name for resource in info.resources)
        self._users |= dict.fromkeys(info.resources, info.name)
        return info.switch_s if changes else 0.0


def switching_s(infos: Sequence[LayerInfo], blocks: Iterable[int]) -> float:
    """Return the seconds spent on changing over when `blocks` are measured in this order."""
    switching = Switching(infos)
    return sum(switching.use(block) for block in blocks)
