"""Writes docs/reference/configuration.md and docs/reference/cli.md from the program itself.

python docs/make_reference.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from masg_sam.cli import app
from masg_sam.config import Config, to_dict, walk

REFERENCE = Path(__file__).parent / "reference"
CONFIGURATION = """# Configuration

Every setting has one name: a flag of `masg-sam train`, a line of a YAML recipe, an attribute of
`masg_sam.Config`. Flags overrule the recipe, the recipe overrules the defaults. Where a setting may be none, `none` and
YAML's `null` both say so.
"""
CLI = """# Command line

`masg-sam VERB --help` says the same. `train` also has a flag for every setting: [configuration](configuration.md).

Exit status: 0 done; 1 failed inside; 2 the call or the input is wrong; 130 interrupted. Results go to standard
output, progress and messages to standard error. `--version` before the verb says the version.
"""


def configuration() -> str:
    """A table for each group of settings."""
    sections: dict[str, list[str]] = {}
    for name, hint, description in walk():
        default: Any = to_dict(Config())
        for part in name.split("."):
            default = default[part]
        row = f"| `{name}` | {_type(hint)} | `{json.dumps(default)}` | {description} |"
        sections.setdefault(name.rpartition(".")[0], []).append(row)
    head = "| setting | type | default | what |\n|---|---|---|---|\n"
    tables = [f"\n## {group}\n\n{head}" + "\n".join(rows) + "\n" for group, rows in sections.items()]
    return CONFIGURATION + "".join(tables)


def command_line() -> str:
    """Arguments and options of each verb, without the settings."""
    sections = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        rows = "\n".join(_rows(command))
        head = f"\n## masg-sam {name}\n\n{command.help}\n\n| argument | default | what |\n|---|---|---|\n"
        sections.append(f"{head}{rows}\n")
    return CLI + "".join(sections)


def _rows(command: Any) -> Iterator[str]:
    for parameter in command.params:
        names = ", ".join(f"`{name}`" for name in parameter.opts)
        if "." in parameter.opts[0] or parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            names = f"`{parameter.name.upper()}`" + (" ..." if parameter.nargs == -1 else "")
        default = "required" if parameter.required else f"`{_plain(parameter.default)}`"
        yield f"| {names} | {default} | {parameter.help} |"


def _plain(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _type(hint: Any) -> str:
    """A type in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type(parts[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in parts))
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin is list:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return "mapping"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "none"}
    return names[hint]


def main() -> None:
    """Write both pages."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in (("configuration.md", configuration()), ("cli.md", command_line())):
        (REFERENCE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
