"""JSON Schema of what users write, for their editors: a file of specs, and nodes.json. Made from the models.

Rules that the models check in Python are said as patterns here, so that an editor refuses what `infra` would refuse -
as far as JSON Schema can say it: what parts must agree on (spans of a lease, names of nodes) is told by `infra` alone.
"""

from __future__ import annotations

from typing import Any

from infra_tasks.model.allowed import IN_WORDS
from infra_tasks.model.broker_url import RULE as BROKER_RULE
from infra_tasks.model.cron_rules import CRON_RULE
from infra_tasks.model.fleet import SECRET_COMMAND_RULE, Fleet
from infra_tasks.model.kinds import PATH_RULE
from infra_tasks.model.patterns import RULE as OUTPUT_RULE
from infra_tasks.model.spec import RETRYABLE, RunSpec
from infra_tasks.model.spec_text import MANY
from infra_tasks.model.ssh_address import RULE as SSH_RULE
from infra_tasks.model.strict_json import SCHEMA

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_NO_NUL = r"^[^\u0000]*$"
_NO_DOTS = r"(?!(?:[^\u0000]*/)?\.\.(?:/|$))"  # no part of a path is ..
_PORT = (
    r"(?=[0-9]{1,5}(?![0-9]))0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
)
_USER = r"[A-Za-z0-9_.][A-Za-z0-9_.-]*"
_SSH_HOST = r"(?:[A-Za-z0-9][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\])"
_REDIS_HOST = rf"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::{_PORT})?"
_LOGIN, _REST = r"(?:[^@\s]*@)?", r"(?:[/?#]\S*)?"
# By the words a rule has for people.
_PATTERNS = {
    PATH_RULE: rf"^(?=[/~])(?=.*[^/~]){_NO_DOTS}[^\u0000-\u001f]*$",
    SSH_RULE: rf"^(?:local|{_USER}@{_SSH_HOST}(?::{_PORT})?)$",
    BROKER_RULE: (
        rf"^(?:embedded|rediss?://{_LOGIN}{_REDIS_HOST}{_REST}"
        rf"|rediss?\+sentinel://{_LOGIN}{_REDIS_HOST}(?:,{_REDIS_HOST})*{_REST})$"
    ),
    CRON_RULE: r"^\s*(?:@[A-Za-z]+|\S+(?:\s+\S+){4})\s*$",
    OUTPUT_RULE: rf"^(?!/|~/)(?=[^\u0000]*\S){_NO_DOTS}[^\u0000]*$",
}


def spec_schema() -> Schema:
    """Return the schema of a file of specs: one, a list of them, or {"runs": [...]}."""
    spec = _tidy(RunSpec.model_json_schema())
    parts = spec.pop("$defs")
    _tighten_spec(spec, parts)
    many = {"type": "array", "items": {"$ref": "#/$defs/RunSpec"}, "minItems": 1}
    wrapped = {
        "type": "object",
        "properties": {SCHEMA: {"type": "string"}, MANY: many},
        "required": [MANY],
        "additionalProperties": False,
    }
    return {
        "$schema": DRAFT,
        "title": "Specs of infra_tasks",
        "if": {"type": "array"},
        "then": many,
        "else": {"if": {"required": [MANY]}, "then": wrapped, "else": {"$ref": "#/$defs/RunSpec"}},
        "$defs": {**parts, "RunSpec": spec},
    }


def nodes_schema() -> Schema:
    """Return the schema of nodes.json."""
    fleet = _tidy(Fleet.model_json_schema())
    fleet["properties"][SCHEMA] = {"type": "string"}
    _tighten_spec(fleet["$defs"]["RunSpec"], fleet["$defs"])
    _tighten_schedule(fleet["$defs"]["Schedule"])
    for table in ("nodes", "projects", "schedules"):  # a name that fits no pattern is refused, not passed over
        fleet["properties"][table]["additionalProperties"] = False
    node = fleet["$defs"]["Node"]["properties"]
    node["labels"]["uniqueItems"] = True
    return {"$schema": DRAFT, **fleet, "title": "nodes.json of infra_tasks"}


def _tighten_spec(spec: Schema, parts: Schema) -> None:
    fields = spec["properties"]
    parts["Reason"]["enum"] = [reason.value for reason in RETRYABLE]
    del fields["labels"]["uniqueItems"]  # said twice is said once
    as_list, as_text = fields["command"]["anyOf"]
    as_list |= {"minItems": 1, "prefixItems": [{"type": "string", "pattern": rf"(?=[^\u0000]*\S){_NO_NUL}"}]}
    as_text["pattern"] = rf"(?=[^\u0000]*\S){_NO_NUL}"
    fields["env"]["propertyNames"] = {"pattern": r"^(?!INFRA_)[A-Za-z_][A-Za-z0-9_]*$"}
    fields["name"]["anyOf"][0]["pattern"] = r"^[^\u0000-\u001f\u007f-\u009f]*$"
    fields[SCHEMA] = {"type": "string"}
    spec["allOf"] = [
        _wants({"private": {"const": True}}, "project"),  # only code can be copied
        _wants({"max_running": {"type": "integer"}}, "name"),  # it counts the runs of one name
    ]


def _wants(said: Schema, text: str) -> Schema:
    """Return what says that whoever says this must say a text, too."""
    return {
        "if": {"properties": said, "required": list(said)},
        "then": {"properties": {text: {"type": "string"}}, "required": [text]},
    }


def _tighten_schedule(schedule: Schema) -> None:
    not_null = {"not": {"type": "null"}}
    schedule["oneOf"] = [{"required": [when], "properties": {when: not_null}} for when in ("cron", "every_s")]
    keyless = {"properties": {"idempotency_key": {"type": "null"}}}
    schedule["properties"]["spec"] = {"allOf": [schedule["properties"]["spec"], keyless]}


def _tidy(schema: Any) -> Any:
    """Return a schema without the titles made of names; rules in words become descriptions, and patterns."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _tidy(each) for key, each in schema.items() if not (key == "title" and isinstance(each, str))}
    rule = tidy.pop(IN_WORDS, None)
    if isinstance(rule, str):
        tidy.setdefault("description", rule)
    if rule == SECRET_COMMAND_RULE:
        asks = {"type": "string", "pattern": r"\{name\}"}
        tidy |= {"prefixItems": [{"not": asks}], "contains": asks}
    if tidy.get("type") == "string" and "enum" not in tidy:
        tidy.setdefault("pattern", _PATTERNS.get(str(rule), _NO_NUL))
    return tidy
