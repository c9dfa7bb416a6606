"""YAML that can't grow: `safe_load` runs no code, but a page of aliases of aliases stands for more
than any memory holds, and whoever walks it never comes back."""

from __future__ import annotations

from typing import Any

import yaml

MAX_CHARACTERS = 1_000_000
MAX_NODES = 100_000
"""Of a file with each alias written out; the largest of ours has two thousand."""


class TooMuch(yaml.YAMLError):
    """It says more than a file that people write."""


def parse(text: str) -> Any:
    """What a text says; None where it says nothing. Raises yaml.YAMLError."""
    loader = yaml.SafeLoader(check_length(text))
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_document(check_growth(node))
    except RecursionError as error:
        raise TooMuch("is nested too deeply") from error
    finally:
        loader.dispose()


def check_length(text: str) -> str:
    """Raises TooMuch."""
    if len(text) > MAX_CHARACTERS:
        raise TooMuch(f"has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    return text


def check_growth(node: yaml.Node) -> yaml.Node:
    """Raises TooMuch where its aliases written out are too many, or never end."""
    if count(node, {}) > MAX_NODES:
        raise TooMuch(f"has more than {MAX_NODES} entries with its aliases written out")
    return node


def count(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes below and at this one; `known` has those of each node by its identity."""
    if id(node) in known:
        if not (num := known[id(node)]):
            raise TooMuch("has an alias within what it stands for")
        return num
    known[id(node)] = 0
    num = 1
    if isinstance(node, yaml.MappingNode):
        num += sum(count(key, known) + count(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        num += sum(count(value, known) for value in node.value)
    known[id(node)] = num
    return num
