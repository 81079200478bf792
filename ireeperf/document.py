"""Read and write the contracts between stages: frozen dataclasses as JSON or TOML, unknown keys refused.

Only the standard library: the contracts are imported by every stage, the free-threaded harness among them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import tomllib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from ireeperf.errors import ConfigError

T = TypeVar("T")


def read(cls: type[T], path: Path) -> T:
    """Read `path` (.json or .toml) as a `cls`. ConfigError names the file, the key and the value found."""
    return from_dict(cls, _parsed(path), where=str(path))


def read_one_of(classes: Sequence[type[T]], path: Path) -> T:
    """Read `path` as the class that shares the most keys with it; ConfigError as in `read`."""
    data = _parsed(path)
    return from_dict(closest(classes, data), data, where=str(path))


def closest(classes: Sequence[type[T]], data: Any) -> type[T]:
    """The dataclass that shares the most keys with the object `data`; of equals the first."""
    keys = data.keys() if isinstance(data, dict) else ()
    return max(classes, key=lambda cls: sum(field.name in keys for field in dataclasses.fields(cls)))  # type: ignore[arg-type]


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error
    try:
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not valid {path.suffix[1:].upper() or 'JSON'}: {error}") from error
    return data


def write(document: Any, path: Path) -> None:
    """Write a dataclass as JSON, whole or not at all (a temporary file in the same folder, then a rename)."""
    write_text(path, json.dumps(to_dict(document), indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all. ConfigError when the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}; free the disk or choose another folder") from error


def to_dict(document: Any) -> Any:
    """A dataclass (nested) as plain JSON values; Path becomes str, tuple becomes list."""
    if dataclasses.is_dataclass(document) and not isinstance(document, type):
        version = getattr(document, "schema_version", None)
        head = {} if version is None else {"schema_version": version}
        return head | {f.name: to_dict(getattr(document, f.name)) for f in dataclasses.fields(document)}
    if isinstance(document, dict):
        return {str(key): to_dict(value) for key, value in document.items()}
    if isinstance(document, (list, tuple)):
        return [to_dict(value) for value in document]
    return str(document) if isinstance(document, Path) else document


def from_dict(cls: type[T], data: Any, *, where: str) -> T:
    """Build a `cls` from plain values, checking every key and type. `where` opens every message."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected an object with the keys of {cls.__name__}, found {data!r:.80}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    version = getattr(cls, "schema_version", None)
    if version is not None and data.get("schema_version", version) != version:
        raise ConfigError(f"{where}: schema_version {data['schema_version']!r}, this release reads {version}")
    for key in data:
        if key not in fields and not (key == "schema_version" and version is not None):
            raise ConfigError(f"{where}: unknown key {key!r}; {cls.__name__} has {', '.join(fields)}")
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], f"{where}: {name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: key {name!r} is missing")
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type, or ConfigError. An int is accepted for a float, nothing else is coerced."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        if any(type(value) is a for a in arguments):
            return value
        documents = [a for a in arguments if isinstance(a, type) and dataclasses.is_dataclass(a)]
        return _convert(closest(documents, value) if documents else next(a for a in arguments if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{where} is {value!r}; one of {', '.join(map(repr, arguments))}")
        return value
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        if origin is tuple and arguments[-1] is not Ellipsis:
            if len(value) != len(arguments):
                raise ConfigError(f"{where} has {len(value)} items, expected {len(arguments)}")
            return tuple(_convert(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(arguments, value, strict=True)))
        return origin(_convert(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where=where)
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if origin is None and isinstance(hint, type) and type(value) is hint:
        return value
    raise ConfigError(f"{where} is {value!r:.80}; expected {getattr(hint, '__name__', hint)}")


def digest(path: Path) -> str:
    """sha256 of a file, hexadecimal."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
