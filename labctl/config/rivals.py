"""The part of an experiment file that says how each learning rule is set when rules are compared."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, Field

from labctl.config.errors import closest
from labctl.config.training import Schedule, Training, rule_of, schedules_of_model
from labctl.contract.errors import SettingError

Body = dict[str, Any]
"""Settings of one rule as written: keys of `training`, and `label` in place of that of `network`."""

RULES: Mapping[str, type[BaseModel]] = {rule_of(model): model for model in get_args(get_args(Training)[0])}
"""The settings of every rule, by its name."""

LABEL = "label"

_SHARED = ("precision", "schedule", "epochs", "batch", "shifts", "inner_steps", "optimizer")
"""Settings that mean the same under every rule that has them."""


def require_rule(name: str) -> None:
    """Raise `ValueError` unless a rule is called `name`."""
    if name not in RULES:
        raise ValueError(_unknown("rule", name, RULES))


def _known(rivals: dict[str, Body]) -> dict[str, Body]:
    """Require names of rules, and keys that each of them knows; what values they may have is seen in the run."""
    for rule, body in rivals.items():
        try:
            require_rule(rule)
        except ValueError as error:
            raise SettingError((rule,), str(error)) from error
        known = [*(name for name in RULES[rule].model_fields if name != "rule"), LABEL]
        for key in body:
            if key not in known:
                raise SettingError((rule, key), _unknown("key", key, known))
    return rivals


Rivals = Annotated[
    dict[str, Body],
    AfterValidator(_known),
    Field(
        description="for `labctl compare`: what each rule is told beside or in place of the settings under `training` "
        "that it shares, and its own `label`"
    ),
]


def training_of(rule: str, training: BaseModel, own: Body) -> Body:
    """Return the section `training` under which `rule` competes: its `own` settings on what is said for all.

    The rule that `training` itself is about keeps all of that; of the others each takes over what means the same.
    """
    said: Body = training.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if said["rule"] != rule:
        schedules: tuple[Schedule, ...] = schedules_of_model(RULES[rule])
        said = {key: said[key] for key in _SHARED if key in said and key in RULES[rule].model_fields}
        if said.get("schedule", schedules[0]) not in schedules:
            del said["schedule"]
    settings = {key: value for key, value in own.items() if key != LABEL}
    return {**said, **settings, "rule": rule}


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    slip = closest(name, known)
    return f'unknown {what} "{name}"; ' + (
        f'did you mean "{slip}"?' if slip else f"expected one of: {', '.join(known)}"
    )
