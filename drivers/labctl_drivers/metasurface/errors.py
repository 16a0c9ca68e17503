"""What else can go wrong between a driver and a metasurface's controller, besides what happens to any link."""

from labctl.contract.errors import InstrumentError
from labctl_drivers.transport.link import LinkGarbledError


class ControllerRefusedError(InstrumentError):
    """The controller received a request and says that it does not carry it out."""


class PatternDiffersError(InstrumentError):
    """The controller holds another pattern than the one it acknowledged."""


class FrameCheckError(LinkGarbledError):
    """A frame arrived whole and its check sum does not belong to it."""


class FrameSequenceError(LinkGarbledError):
    """A sound frame arrived that answers another request."""
