"""From what a rig file says to a link. Building connects nothing."""

from labctl.contract.driver import BuildContext
from labctl_drivers.transport.byte_log import ByteLog
from labctl_drivers.transport.message_link import MessageLink
from labctl_drivers.transport.settings import ByteLogSettings, LinkSettings
from labctl_drivers.transport.socket_link import SocketLink


def build_link(settings: LinkSettings, context: BuildContext) -> MessageLink:
    """Return the link that the address asks for, not yet open."""
    log = build_byte_log(settings.byte_log, context)
    if settings.transport == "socket":
        return SocketLink(settings, context.name, log)
    # PyVISA takes half a second to import.
    from labctl_drivers.transport.visa_link import VisaLink

    return VisaLink(settings, context.name, log)


def build_byte_log(settings: ByteLogSettings | None, context: BuildContext) -> ByteLog | None:
    """Return the log of a link's bytes, or None where none is asked for."""
    if settings is None:
        return None
    file = None if settings.file is None else context.folder / settings.file
    return ByteLog(round(settings.size_mb * 1e6), file)
