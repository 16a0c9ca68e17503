"""What layers that offer `RawSignals` share: other settings may concern how a signal is read, not what was sent."""

from collections.abc import Collection

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError


def require_same_sent(then: Settings, now: Settings, read_out: Collection[str]) -> None:
    """Raise `SettingError` at the first field that differs and is none of `read_out`."""
    for field, about in type(now).model_fields.items():
        before, after = getattr(then, field), getattr(now, field)
        if field not in read_out and before != after:
            what = f"it decides what is sent, and that was sent with {before}: measure anew with `labctl run`"
            raise SettingError((about.alias or field,), what)
