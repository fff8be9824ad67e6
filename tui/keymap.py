"""Keys of the user's own: what `[monitor.keys]` says, checked before the monitor starts, and as a screen names them."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import Keys, format_key, key_to_character

from ..config import ConfigError, MonitorKeys

PACKAGE = __package__ or ""
MODIFIERS = ("ctrl", "shift", "alt")
TYPED_INTO = ("mark.leave", "trials.all")
"""A character is taken as text where these ids have their keys."""


def keymap(given: MonitorKeys) -> dict[str, str]:
    """Return the given keys by the ids of what they do. All screens must be imported.

    Raises
    ------
    ConfigError
        An id or a key does not exist, or two ids of one screen have the same key.
    """
    for problem in keymap_problems(given):
        raise ConfigError(f"[monitor.keys]: {problem}; `braind config validate` lists all problems")
    return _by_id(given)


def keymap_problems(given: MonitorKeys) -> list[str]:
    """Return what is wrong with the given keys, a sentence each. All screens must be imported."""
    keys, defaults = _by_id(given), default_keys()
    problems = [f"no id {id_!r}{_meant(id_, defaults)}" for id_ in keys if id_ not in defaults]
    for id_, text in keys.items():
        for name in text.split(","):
            if not _is_key(name):
                problems.append(f"{id_}: no key {name!r}{_meant(name, _key_names())}")
            elif id_ in TYPED_INTO and len(_one_name(name)) == 1:
                problems.append(f"{id_}: {name!r} is typed there; give a key that writes nothing, such as 'f2'")
    return problems or list(dict.fromkeys(_clashes(keys)))


@cache
def default_keys() -> Mapping[str, str]:
    """Return the key or keys of every id, the most important first. All screens must be imported."""
    return {one.id: one.key for owner in _owners() for one in _bindings(owner) if one.id}


def shown_key(app: object, id_: str) -> str:
    """Return the first key of an id in this app, as a row of keys names it, such as `esc`."""
    own: Mapping[str, str] = getattr(app, "own_keys", {})
    return format_key(own.get(id_, default_keys()[id_]).split(",")[0].strip())


def keys_row(app: object, words: Mapping[str, str]) -> str:
    """Return the keys of ids in this app, each with its words: `y  pause    esc  go on decoding`."""
    return "    ".join(f"{shown_key(app, id_)}  {what}" for id_, what in words.items())


def _by_id(given: MonitorKeys) -> dict[str, str]:
    """Return keys by whole ids: TOML reads an id without quotes as a table's name and a key."""
    found: dict[str, str] = {}
    for name, value in given.items():
        found |= {name: value} if isinstance(value, str) else {f"{name}.{rest}": key for rest, key in value.items()}
    return found


def _owners() -> Iterator[type[DOMNode]]:
    """Yield the monitor's classes that bind keys."""
    waiting: list[type[DOMNode]] = [DOMNode]
    while waiting:
        waiting += (owner := waiting.pop(0)).__subclasses__()
        if owner.__module__.startswith(f"{PACKAGE}.") and _bindings(owner):
            yield owner


def _bindings(owner: type) -> list[Binding]:
    return [one for one in owner.__dict__.get("BINDINGS", ()) if isinstance(one, Binding)]


def _clashes(keys: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each given key that does two things on one screen."""
    for id_, text in keys.items():
        before = map(_one_name, default_keys()[id_].split(","))
        for key in set(map(_one_name, text.split(","))).difference(before):
            for other in _with_key(key, keys, screen=id_.partition(".")[0]):
                if other != id_:
                    yield f"{id_}: {format_key(key)!r} is the key of {other} too; give one of them another key"


def _with_key(key: str, keys: Mapping[str, str], *, screen: str) -> Iterator[str]:
    """Yield the id of everything that a key does on a screen; what Textual itself does has no id but a name.

    The first part of an id is its screen.
    """
    of_screen = [one for one in _owners() if any((key.id or "").partition(".")[0] == screen for key in _bindings(one))]
    for owner in (*of_screen, App):  # Textual's keys of an app go before those of a screen
        for one in (one for base in owner.__mro__ for one in _bindings(base)):
            if key in map(_one_name, keys.get(one.id or "", one.key).split(",")):
                yield one.id or f"Textual's {one.description or one.action!r}"


def _is_key(name: str) -> bool:
    *modifiers, last = name.strip().split("+") if len(name.strip()) > 1 else [name.strip()]
    if not set(modifiers) <= set(MODIFIERS):
        return False
    if len(last) == 1:
        return last.isprintable()
    return last in _key_names() or (last.islower() and key_to_character(last) is not None)


def _one_name(name: str) -> str:
    """Return the character of a key that writes one: `?` for `question_mark`."""
    name = name.strip()
    character = key_to_character(name)
    return character if character and character.isprintable() and not character.isspace() else name


def _key_names() -> dict[str, str]:
    return {key.value: key.name for key in Keys if not key.value.startswith("<")}


def _meant(name: str, known: Mapping[str, str]) -> str:
    matches = get_close_matches(name.strip().lower(), known, n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
