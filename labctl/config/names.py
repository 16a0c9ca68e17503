"""The texts of settings files that have a form: names, addresses of layers, files.

`form` in the JSON schema is what error messages say instead of the pattern.
"""

from typing import Annotated, Any

from pydantic import Field


def _form(pattern: str, form: str) -> Any:
    return Field(pattern=pattern, json_schema_extra={"form": form})


Name = Annotated[
    str,
    _form(
        r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        'a name of letters, digits, ".", "_" and "-" that starts with a letter or digit',
    ),
]
"""What runs and rigs are called; also the name of a folder."""

PartName = Annotated[
    str,
    _form(r"^[A-Za-z0-9][A-Za-z0-9_-]*$", 'a name of letters, digits, "_" and "-" that starts with a letter or digit'),
]
"""A role, an instrument or a layer; without dots, so that `main.cavity` can be taken apart."""

LayerAddress = Annotated[
    str,
    _form(
        r"^([A-Za-z0-9][A-Za-z0-9_-]*\.)?[A-Za-z0-9][A-Za-z0-9_-]*$", "the name of a layer, as in cavity or main.cavity"
    ),
]

FileName = Annotated[str, Field(min_length=1)]
"""A path as written; relative to the file that names it."""
