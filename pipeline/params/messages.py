"""The sentences about values that the schema of params.yaml refuses."""

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
    "string_pattern_mismatch": "must be an identifier such as apache-2.0 or other",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be finite",
    "invalid_key": "must be a name",
    "tuple_type": "must be a list",
    "dict_type": "must be a block of keys",
    "too_short": "must name at least one",
}
# Keys of earlier versions, and what to write now.
_RENAMED = {
    "pretrain.content_loss": "pretrain.losses, a weight for each loss: `losses: {l1: 1}`",
    "finetune.content_loss": "finetune.losses, a weight for each loss: `losses: {l1: 100}`",
    "finetune.lambda_content": "the weight in finetune.losses: `losses: {l1: 100}`",
}


def sentence(error: ErrorDetails, schema: type[BaseModel]) -> str:
    """One of a ValidationError's errors, in words: `finetune.epochs must be >= 0, got -1`."""
    *path, last = (str(part) for part in error["loc"] or ("the whole",))
    context = error.get("ctx", {})
    if last == "[key]" and "expected" in context:
        return f"{'.'.join(path)} is not known; allowed: {context['expected']}"
    key = ".".join([*path, last])
    if key in _RENAMED:
        return f"{key} is now {_RENAMED[key]}"
    if error["type"] == "extra_forbidden":
        return f"{key} is not a key this project knows; {_similar_keys(path, last, schema)}"
    if error["type"] in ("model_type", "model_attributes_type"):
        return f"{key} must be a block of keys, got {short(error['input'])}"
    bounds = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
    if error["type"] == "string_type" and isinstance(error["input"], int | float | list | dict):
        return f"{key} must be a string, got {short(error['input'])}; in quotes it is one (with -S, in inner quotes)"
    rule = _RULES.get(error["type"], "").format(**bounds) or error["msg"].removeprefix("Value error, ")
    return f"{key} {rule}, got {short(error['input'])}"


def short(value: Any) -> str:
    """Return a value as Python writes it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _similar_keys(path: list[str], last: str, block: Any) -> str:
    for part in path:
        block = block.model_fields[part].annotation
    known = list(block.model_fields)
    close = difflib.get_close_matches(last, known, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"
