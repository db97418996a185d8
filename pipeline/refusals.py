"""What is said of a value that a schema refuses: the key, what it got, what is allowed."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_RULES = {
    "greater_than": "must be > {gt}",
    "greater_than_equal": "must be >= {ge}",
    "less_than": "must be < {lt}",
    "less_than_equal": "must be <= {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be finite",
    "invalid_key": "must be a name",
    "tuple_type": "must be a list",
}


def sentence(error: ErrorDetails, schema: type[BaseModel]) -> str:
    """One of a ValidationError's errors, in words: `finetune.epochs must be >= 0, got -1`."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        return f"{key} is not a key this project knows; {_neighbours(error['loc'], schema)}"
    if error["type"] in ("model_type", "model_attributes_type"):
        return f"{key} must be a block of keys, got {short(error['input'])}"
    bounds = {k: f"{v:g}" if isinstance(v, float) else v for k, v in error.get("ctx", {}).items()}
    rule = _RULES.get(error["type"], "").format(**bounds) or error["msg"]
    return f"{key} {rule}, got {short(error['input'])}"


def short(value: Any) -> str:
    """A value as Python writes it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _neighbours(loc: tuple[int | str, ...], block: Any) -> str:
    for part in loc[:-1]:
        block = block.model_fields[str(part)].annotation
    known = list(block.model_fields)
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
