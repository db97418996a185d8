"""Write params.md, cli.md and metrics.md of docs/reference: `python scripts/make_reference.py`.

The meaning is the docstring under each field of pipeline/params/schema.py and pipeline/models/config.py. What is
allowed is the field's annotation, and the value is that of recipes/quickstart.yaml. The stages that rerun are those
whose `params` in dvc.yaml name it. Commands and their options are those of pipeline/cli.py,
metrics those of pipeline/evaluation.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, get_args

import typer
from pydantic import BaseModel
from ruamel.yaml import YAML

from pipeline.cli import app
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.report import definitions
from pipeline.params.schema import LossName, Params

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/reference"
PAGE, COMMANDS, METRICS = PAGES / "params.md", PAGES / "cli.md", PAGES / "metrics.md"
SCHEMAS = ("pipeline/params/schema.py", "pipeline/models/config.py")
OPENING = """\
<!-- made by scripts/make_reference.py; change pipeline/params/schema.py instead -->

# Parameters

Every parameter of `params.yaml`, by block.

- **allowed** is what the schema takes. Anything else is refused before work starts, with a sentence that names the key,
  what it got and what is allowed. `pipeline/params/schema.py` has the values that are each allowed, but not
  together. `twotone check` tries them all without running a stage.
- **quickstart** is the value of the embedded default.
- **reruns** are the stages that read the parameter, and so run again when it changes. A stage after them runs only
  where what it reads has really changed ([what-reruns.md](what-reruns.md)).

"""
LOSSES = ", ".join(f"`{name}`" for name in get_args(LossName))
# Checked by a function of the schema, so that no annotation tells.
BY_FUNCTION = {
    "base.processes": "`auto` or 1 to 1024",
    "sample.group": "`none`, `folder`, or a number of files >= 2",
    **dict.fromkeys(("pretrain.losses", "finetune.losses"), f"weights >= 0 by name: {LOSSES} or `module:function`"),
}
PANELS = ["Color photographs", "Train", "Compare", "Models of others"]
STARTS = "`none`, or the name of a folder in `checkpoints/` that no stage writes"
NAMES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}


COMMANDS_OPENING = """\
<!-- made by scripts/make_reference.py; change pipeline/cli.py instead -->

# The command line

Every command of `twotone`, as `twotone COMMAND --help` shows it. In a checkout, `uv run twotone` is the one of its own
environment. `twotone --install-completion` teaches the shell the names.
"""


METRICS_OPENING = """\
<!-- made by scripts/make_reference.py; change pipeline/evaluation/metrics.py instead -->

# Metrics

What `evaluate` and `twotone score` measure of each photograph, and what many photographs have together. A mean gives
each photograph the same weight. `reports/evaluate/protocol.json` has the same definitions, with the versions of the
libraries.
L\\*a\\*b\\* is CIE 1976 of sRGB, white D65, 2 degree observer.

| metric | definition | nearer to the truth |
|---|---|---|
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    COMMANDS.write_text(commands(), encoding="utf-8")
    METRICS.write_text(metrics(), encoding="utf-8")


def metrics() -> str:
    better = {name: metric.better for name, metric in ALL.items()} | {"fd_lite0": "lower", "fid": "lower"}
    rows = [
        f"| `{name}` | {text} | {better[name] or 'depends'} |" for name, text in definitions(True, True, True).items()
    ]
    return METRICS_OPENING + "\n".join(rows) + "\n"


def commands() -> str:
    lines, panel = [COMMANDS_OPENING], ""
    shown = [one for one in typer.main.get_command(app).commands.values() if not one.hidden]  # type: ignore[attr-defined]
    for command in sorted(shown, key=lambda one: PANELS.index(one.rich_help_panel)):
        if command.rich_help_panel != panel:
            panel = command.rich_help_panel
            lines += [f"## {panel}", ""]
        example = command.epilog.removeprefix("Example: ")
        lines += [f"### twotone {command.name}", "", command.help, "", f"```\n{example}\n```", ""]
        if command.params:
            lines += ["| argument or option | meaning | default |", "|---|---|---|"]
            lines += [option_row(option) for option in command.params]
            lines.append("")
    return "\n".join(lines)


def option_row(option: Any) -> str:
    names = [option.name.upper()] if option.opts == [option.name] else [*option.opts, *option.secondary_opts]
    default = option.default() if callable(option.default) else option.default
    absent = default is None or isinstance(default, bool)
    shown = "required" if option.required else "" if absent else f"`{default}`"
    return f"| {', '.join(f'`{name}`' for name in names)} | {option.help or ''} | {shown} |"


def page() -> str:
    values = YAML(typ="safe").load((ROOT / "recipes/quickstart.yaml").read_text(encoding="utf-8"))
    meanings, watched = docstrings(), watchers()
    lines = [OPENING]
    for block, field in Params.model_fields.items():
        lines += [f"## {block}", "", "| key | meaning | allowed | quickstart | reruns |", "|---|---|---|---|---|"]
        model = field.annotation
        assert model is not None
        assert issubclass(model, BaseModel)
        schema = model.model_json_schema()
        for key, rule in schema["properties"].items():
            name = f"{block}.{key}"
            cells = [
                f"`{key}`",
                meanings.get(name, meanings.get(f"pretrain.{key}", "") if block == "finetune" else ""),
                BY_FUNCTION.get(name) or (STARTS if key == "start_from" else allowed(rule)),
                f"`{json.dumps(values[block][key])}`",
                ", ".join(stage for stage in watched if watched[stage] & {block, name}) or "none",
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def docstrings() -> dict[str, str]:
    """block.key -> the string under the field, in one line."""
    found = {}
    nodes = [node for file in SCHEMAS for node in ast.parse((ROOT / file).read_bytes()).body]
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            for field, text in zip(node.body, node.body[1:], strict=False):
                match field, text:
                    case ast.AnnAssign(target=ast.Name(id=key)), ast.Expr(value=ast.Constant(value=str(said))):
                        found[f"{node.name.lower()}.{key}"] = " ".join(said.split())
    return found


def watchers() -> dict[str, set[str]]:
    """Return the parameters and blocks that each stage reads."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: set(stage["params"]) for name, stage in stages.items()}


def allowed(rule: dict[str, Any]) -> str:
    """Say a JSON schema in words: its names, or its type with its bounds."""
    if "const" in rule or "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule.get("enum", [rule.get("const")]))
    if "anyOf" in rule:
        return ", or ".join(allowed(choice) for choice in rule["anyOf"])
    if rule.get("type") == "array":
        return f"list of: {allowed(rule['items'])}"
    if rule.get("type") == "object":
        names, weights = allowed(rule.get("propertyNames", {"type": "string"})), allowed(rule["additionalProperties"])
        if "enum" in rule["additionalProperties"]:
            return f"by name: {weights}"
        return f"weights by name; names: {names}; weights: {weights}"
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {rule[word]:.15g}" for word, sign in words.items() if word in rule]
    if "multipleOf" in rule:
        bounds.append(f"a multiple of {rule['multipleOf']}")
    return " ".join([NAMES[rule["type"]], ", ".join(bounds)]).strip()


if __name__ == "__main__":
    main()
