"""What a rig file says of an audio interface."""

from typing import Annotated

from pydantic import Field, model_validator

from labctl.contract.driver import Settings
from labctl.contract.errors import SettingError
from labctl.contract.units import Decibel, DecibelFullScale, Hertz, Seconds, Volts, VoltsPerPascal

ChannelNumber = Annotated[int, Field(ge=1, le=512)]


class OutputSettings(Settings):
    """One loudspeaker."""

    name: str = Field(min_length=1)
    max_level_dbfs: Annotated[DecibelFullScale, Field(le=0)] = Field(
        alias="max_level", description="largest sample that may be played on it"
    )


class InputSettings(Settings):
    """One microphone; with its sensitivity, levels are told in dB SPL."""

    name: str = Field(min_length=1)
    gain_db: Decibel = Field(alias="gain", default=0.0, description="gain before the converter")
    sensitivity_v_per_pa: Annotated[VoltsPerPascal, Field(gt=0)] | None = Field(alias="sensitivity", default=None)


class LoopbackSettings(Settings):
    """An electrical cable from an output to an input, by which recordings are aligned and found whole."""

    output: ChannelNumber
    input: ChannelNumber
    level_dbfs: Annotated[DecibelFullScale, Field(ge=-60, le=0)] = Field(alias="level", default=-12.0)


class PortAudioSettings(Settings):
    """An audio interface, by PortAudio; channels are counted from 1.

    The device is the one with this host API, exactly this name and exactly these numbers of channels; there is no
    default device. `labctl doctor` lists what is present when it is not found.
    """

    host_api: str = Field(examples=["ALSA", "ASIO", "Core Audio", "JACK Audio Connection Kit"])
    device: str = Field(examples=["Fireface UCX: USB Audio (hw:1,0)"])
    output_channels: ChannelNumber = Field(description="how many outputs the device has")
    input_channels: ChannelNumber = Field(description="how many inputs the device has")
    samplerate_hz: Annotated[Hertz, Field(ge=1000)] = Field(alias="samplerate")
    outputs: dict[ChannelNumber, OutputSettings] = Field(min_length=1, description="loudspeakers by output")
    inputs: dict[ChannelNumber, InputSettings] = Field(min_length=1, description="microphones by input")
    loopback: LoopbackSettings | None = Field(
        default=None, description="needed unless `latency` or `calibration` tell it"
    )
    latency_s: Annotated[Seconds, Field(ge=0, le=2)] | None = Field(
        alias="latency",
        default=None,
        description="from output to input, where there is no loopback; nothing then tells that it moves",
    )
    buffer_s: Annotated[Seconds, Field(gt=0, le=2)] = Field(
        alias="buffer", default=0.1, description="how far the device is fed ahead; longer is safer"
    )
    stall_s: Annotated[Seconds, Field(ge=0.2, le=60)] = Field(
        alias="stall", default=2.0, description="a device that has not called for so long is gone"
    )
    trust_flags: bool = Field(
        default=True,
        description="whether a row is lost when the audio system reports a loss; false where the loopback knows "
        "better, which at JACK it does not: of a client that is late single channels may be torn",
    )
    full_scale_v: Annotated[Volts, Field(gt=0)] = Field(
        alias="full_scale", default=1.0, description="peak voltage of digital full scale at an input without gain"
    )
    server: str | None = Field(default=None, description="name of the JACK server, where it is not the usual one")
    calibration: str | None = Field(default=None, description="file that `labctl calibrate` wrote of it")
    simulated: bool = Field(default=False, description="that `labctl simulate` is behind it")

    @model_validator(mode="after")
    def _channels_are_there(self) -> "PortAudioSettings":
        for key, channels, number in (
            ("outputs", self.outputs, self.output_channels),
            ("inputs", self.inputs, self.input_channels),
        ):
            for channel in channels:
                if channel > number:
                    raise SettingError(
                        (key, channel), f"there is no channel {channel}: {key[:-1]}_channels is {number}"
                    )
            names = [each.name for each in channels.values()]
            for channel, each in channels.items():
                if names.count(each.name) > 1:
                    raise SettingError((key, channel, "name"), f"'{each.name}' is the name of two {key}")
        return self

    @model_validator(mode="after")
    def _aligned(self) -> "PortAudioSettings":
        if self.loopback is not None and self.latency_s is not None:
            raise SettingError(("latency",), "the loopback tells the latency; state it only where there is none")
        if self.loopback is not None:
            self._check_loopback(self.loopback)
        return self

    @model_validator(mode="after")
    def _losses_are_told(self) -> "PortAudioSettings":
        if self.trust_flags or self.simulated:
            return self
        if self.loopback is None:
            raise SettingError(
                ("trust_flags",), "without a loopback nothing else tells that samples were lost: trust the flags"
            )
        if self.host_api.startswith("JACK"):
            raise SettingError(
                ("trust_flags",),
                "of a client that is late JACK may tear single channels and leave the loopback whole, which the flags "
                "alone tell: trust them, and lengthen JACK's period where there are too many",
            )
        return self

    def _check_loopback(self, loopback: LoopbackSettings) -> None:
        for key, channel, taken, number in (
            ("output", loopback.output, self.outputs, self.output_channels),
            ("input", loopback.input, self.inputs, self.input_channels),
        ):
            if channel in taken:
                raise SettingError(
                    ("loopback", key), f"{key} {channel} is that of '{taken[channel].name}'; use a free one"
                )
            if channel > number:
                raise SettingError(("loopback", key), f"there is no {key} {channel}: {key}_channels is {number}")
