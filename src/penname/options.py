"""Options: one frozen dataclass per stage, the source of its flags, its help and its JSON.

A stage declares its options once, as a frozen dataclass whose fields are made by `option`. The
command line is generated from it (`add_flags`, `from_flags`), and what a stage makes stores them
(`to_json`, `from_json`), where an unknown name is an error: a typo costs a second, not a night.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from penname.errors import OptionError

OptionsT = TypeVar("OptionsT")


def option(default: Any, text: str, *, choices: tuple[str, ...] | None = None) -> Any:
    """Return a dataclass field with a default, its help text and, if closed, its choices."""
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices})


def check_choices(options: Any) -> None:
    """Check that each option with choices has one of them.

    Raises:
        OptionError: it has another value.
    """
    for field in dataclasses.fields(options):
        choices, value = field.metadata["choices"], getattr(options, field.name)
        if choices and value not in choices:
            known = f"{', '.join(choices[:-1])} or {choices[-1]}"
            raise OptionError(f"{field.name} is {value!r}; choose {known}")


def add_flags(parser: argparse.ArgumentParser, cls: type, *, title: str | None = None) -> None:
    """Add one `--flag` per field of the options class `cls`; booleans get `--no-flag` too."""
    group = parser.add_argument_group(title or "options")
    for field, kind in _fields(cls):
        flag = _flag(field.name)
        default = "none" if field.default in ("", None) else field.default
        text = f"{field.metadata['help']} (default: {default})".replace("%", "%%")
        if kind is bool:
            group.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=field.default, help=text
            )
        else:
            group.add_argument(
                flag,
                type=kind,
                default=field.default,
                choices=field.metadata["choices"],
                metavar=None if field.metadata["choices"] else kind.__name__.upper(),
                help=text,
            )


def from_flags(cls: type[OptionsT], arguments: argparse.Namespace) -> OptionsT:
    """Build the options class `cls` from parsed flags."""
    return cls(**{field.name: getattr(arguments, field.name) for field, _ in _fields(cls)})


def to_flags(options: Any) -> list[str]:
    """Return the flags of a command line for what is not as by default; none may be a boolean."""
    return [
        f"{_flag(each.name)}={value}"
        for each in dataclasses.fields(options)
        if (value := getattr(options, each.name)) != each.default
    ]


def to_json(options: Any) -> dict[str, Any]:
    """Return the options as a JSON object, paths as strings."""
    values = dataclasses.asdict(options)
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def from_json(cls: type[OptionsT], values: dict[str, Any]) -> OptionsT:
    """Build the options class `cls` from a JSON object.

    Raises:
        OptionError: for a name that `cls` does not know.
    """
    known = {field.name: kind for field, kind in _fields(cls)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise OptionError(
            f"unknown {cls.__name__} option {', '.join(unknown)}; known: {', '.join(known)}"
        )
    return cls(
        **{
            name: Path(value) if known[name] is Path and value is not None else value
            for name, value in values.items()
        }
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _fields(cls: type) -> list[tuple[dataclasses.Field[Any], Any]]:
    """Return each field of `cls` with its type, `None` stripped from an optional one."""
    hints = typing.get_type_hints(cls)
    return [(field, _kind(hints[field.name])) for field in dataclasses.fields(cls)]


def _kind(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint
