"""The small types that fields are made of: names, labels, paths, seconds. Each says in words what it allows."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from infra_tasks.model.allowed import IN_WORDS

NAME_RULE = "small letters, digits and '-', not beginning with '-', at most 40 characters"
LABEL_RULE = "small letters, digits, '-' and '_', beginning with a letter or digit, at most 40 characters"
PATH_RULE = "a path that begins with / or ~, without '..' and line ends"
ARGUMENT_RULE = "a text without NUL characters"


def _path(text: str) -> str:
    parts = text.split("/")
    if not text.startswith(("/", "~")) or ".." in parts or any(ord(each) < 32 for each in text) or not text.strip("/~"):
        raise ValueError(f"allowed: {PATH_RULE}")
    return text


def _argument(text: str) -> str:
    if "\0" in text:
        raise ValueError(f"allowed: {ARGUMENT_RULE}")
    return text


# Names become queue names, folder names (on disks that fold case as well) and parts of Redis keys.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", json_schema_extra={IN_WORDS: NAME_RULE})]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", json_schema_extra={IN_WORDS: LABEL_RULE})]
NodePath = Annotated[str, AfterValidator(_path), Field(max_length=1024, json_schema_extra={IN_WORDS: PATH_RULE})]
Argument = Annotated[str, AfterValidator(_argument)]
Whole = Annotated[int, Field(strict=True)]  # neither "4" nor true
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
