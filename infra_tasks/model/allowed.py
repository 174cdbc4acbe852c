"""Says in words what a JSON Schema allows: "a whole number from 1 to 256", "a text, a list or null"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Schema = Mapping[str, Any]

IN_WORDS = "allowed"  # a key we add to the schema of a type whose rule is better said than derived


def alternatives(schema: Schema | None, root: Schema) -> list[Schema]:
    """Return the branches of a schema, references to the definitions of `root` followed."""
    if schema is None:
        return []
    if "$ref" in schema:
        return alternatives(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches is None or IN_WORDS in schema:
        return [schema]
    return [leaf for branch in branches for leaf in alternatives(branch, root)]


def allowed(schema: Schema | None, root: Schema) -> str:
    """Return what `schema` allows in words, or nothing when it does not say."""
    words = list(dict.fromkeys(_words(each, root) for each in alternatives(schema, root)))
    return _either([word for word in words if word])


def _words(schema: Schema, root: Schema) -> str:
    if IN_WORDS in schema:
        return str(schema[IN_WORDS])
    if "const" in schema or "enum" in schema:
        return _either([json.dumps(each) for each in schema.get("enum", [schema.get("const")])])
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return _number("a whole number" if kind == "integer" else "a number", schema)
    if kind == "array":
        return _list(schema, root)
    if kind == "object" and schema.get("properties"):
        return f"an object with {', '.join(schema['properties'])}"
    return {"string": _text(schema), "boolean": "true or false", "null": "null", "object": _object(schema)}.get(
        str(kind), ""
    )


def _number(noun: str, schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f"{noun} from {least} to {most}"
    bounds = {"at least": least, "above": above, "at most": most, "below": below}
    said = " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    return f"{noun} {said}".strip()


def _text(schema: Schema) -> str:
    most = f" of at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    shape = f" like {schema['pattern']}" if "pattern" in schema else ""
    return f"a text{most}{shape}{' that is not empty' if schema.get('minLength') else ''}"


def _list(schema: Schema, root: Schema) -> str:
    most = f" of at most {schema['maxItems']}" if "maxItems" in schema else ""
    noun = "a list that is not empty" if schema.get("minItems") else "a list"
    each = allowed(schema.get("items") or None, root)
    return f"{noun}{most} (each {each})" if each else f"{noun}{most}"


def _object(schema: Schema) -> str:
    return "an object with at least one entry" if schema.get("minProperties") else "an object"


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
