"""What is said between orchestrator and host arrives as it was said."""

import io

import numpy as np
import pytest

from labctl.contract.errors import DriveError, Fault, InputError, InstrumentError, LabctlError
from labctl.contract.messages import encode, read_message
from labctl.rig.messages import HostDefectError, error_as_head, error_from_head


class LinkLostError(InstrumentError):
    """A driver's own kind of instrument error."""


def test_a_message_arrives_with_its_arrays_and_their_types() -> None:
    arrays = {
        "ids": np.array([2**40, -1]),
        "values": np.array([[1 + 2j, np.inf], [0, -0.0]], dtype=np.complex64),
        "status": np.zeros(2, np.uint8),
        "none": np.zeros((0, 3), np.float32),
        "across": np.arange(6.0).reshape(2, 3).T,
        "single": np.array(2.5),
    }
    stream = io.BytesIO(encode({"kind": "chunk", "of": 3, "text": "µ\n"}, arrays) + encode({"kind": "beat"}))
    message = read_message(stream)
    assert message.kind == "chunk"
    assert dict(message.head) == {"kind": "chunk", "of": 3, "text": "µ\n"}
    for name, array in arrays.items():
        assert message.arrays[name].dtype == array.dtype
        assert message.arrays[name].shape == array.shape
        np.testing.assert_array_equal(message.arrays[name], array)
        message.arrays[name][...] = 0
    assert read_message(stream).kind == "beat"
    with pytest.raises(EOFError):
        read_message(stream)


def test_a_message_that_was_cut_is_the_end() -> None:
    whole = encode({"kind": "chunk"}, {"ids": np.arange(3)})
    for length in range(len(whole)):
        with pytest.raises(EOFError):
            read_message(io.BytesIO(whole[:length]))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DriveError("x is too large"), DriveError),
        (InputError("wrong"), InputError),
        (LabctlError("cannot go on"), LabctlError),
        (InstrumentError("vna", "no answer", command="*IDN?"), InstrumentError),
        (InstrumentError("vna", "it is hot", fault=Fault.NOT_READY), InstrumentError),
        (LinkLostError("vna", "the cable"), InstrumentError),
    ],
)
def test_an_error_comes_back_as_itself(error: Exception, kind: type[Exception]) -> None:
    error.add_note("look at the cable")
    returned = error_from_head(error_as_head(error, "a traceback"))
    assert type(returned) is kind
    assert str(returned) == str(error)
    assert returned.__notes__ == ["look at the cable"]
    if isinstance(error, InstrumentError):
        assert isinstance(returned, InstrumentError)
        assert (returned.instrument, returned.command) == (error.instrument, error.command)
        assert returned.fault is error.fault


def test_a_defect_comes_back_with_its_traceback() -> None:
    returned = error_from_head(error_as_head(ZeroDivisionError("x"), "the traceback"))
    assert isinstance(returned, HostDefectError)
    assert "the traceback" in str(returned)
