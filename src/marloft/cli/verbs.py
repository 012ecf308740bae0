"""The verbs of the command line: each one's module is imported when the verb is asked for.

A module of verbs may import, at its top, what the base install has; what an extra brings is
imported inside the function of the verb that needs it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup

from marloft.pages import with_paths

# Verb → module below marloft.cli, and the function or the group of verbs in it; in the order of
# `marloft --help`: from a project to its archive, to a release, to what was served and how well.
VERBS = {
    "new": "scaffold:new",
    "adopt": "scaffold:adopt",
    "demo": "demo:demo",
    "data": "data:app",
    "schema": "schema:app",
    "golden": "golden:app",
    "pack": "archive:pack",
    "verify": "archive:verify",
    "inspect": "inspect:inspect",
    "keys": "trust:keys",
    "sign": "trust:sign",
    "push": "share:push",
    "pull": "share:pull",
    "plan": "deploy:plan",
    "apply": "deploy:apply",
    "serve": "deploy:serve",
    "status": "status:status",
    "list": "status:list_archives",
    "history": "status:history",
    "promote": "deploy:promote",
    "rollback": "deploy:rollback",
    "gc": "status:gc",
    "metrics": "monitoring:metrics",
    "log": "log:app",
    "trace": "log:trace_request",
    "experiment": "experiment:app",
    "fairness": "fairness:app",
    "card": "card:card",
}
_READ_ON = re.compile(r"\s*(Read on: docs/\S+)$")
# Click's mark of a paragraph that is not wrapped: a path has to stay whole to be copied.
_UNWRAPPED = "\n\n\b\n"


class LazyGroup(TyperGroup):
    """The group of all verbs, which imports a verb when it is looked up, and all for `--help`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(dict[str, Any], _Commands())


def full_name(words: Sequence[str]) -> str:
    """Return the verb that a command line begins with, such as `experiment analyze`, else ""."""
    verb, below = [*words, "", ""][:2]
    if verb not in VERBS:
        return ""
    return f"{verb} {below}".rstrip() if isinstance(_target(verb), typer.Typer) else verb


class _Commands(Mapping[str, Any]):
    """Verb → command, built when it is looked up."""

    def __getitem__(self, verb: str) -> Any:
        return _command(verb)

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


def _target(verb: str) -> Any:
    module, name = VERBS[verb].split(":")
    return getattr(import_module(f"marloft.cli.{module}"), name)


@cache
def _command(verb: str) -> Any:
    target = _target(verb)
    holder = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    # With a callback it is a group, even with a single verb in it.
    holder.callback()(lambda: None)
    if isinstance(target, typer.Typer):
        holder.add_typer(target, name=verb)
    else:
        holder.command(verb)(target)
    command: Any = typer.main.get_group(holder).commands[verb]
    for each in [command, *getattr(command, "commands", {}).values()]:
        each.help = _with_path(each.help or "")
    return command


def _with_path(text: str) -> str:
    """Let a verb's help end with a path of the page to read on that exists on this machine."""
    found = _READ_ON.search(text)
    if found is None:
        return text
    place = with_paths(found[1])
    return text if place == found[1] else text[: found.start()] + _UNWRAPPED + place
