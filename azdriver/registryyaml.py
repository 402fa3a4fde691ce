"""YAML without surprises: small, no objects, and errors that quote nothing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

from azdriver.errors import ConfigurationError

__all__ = ["MAX_CHARACTERS", "parse_yaml"]

# What a configuration of the registry never has, however long it is.
MAX_CHARACTERS: Final = 128 * 1024
MAX_NODES: Final = 10_000
MAX_DEPTH: Final = 50
# Everything else stays the text that was written: an account's name may be digits, and an API
# version is no date.
_READ: Final = ("null", "bool", "merge")
_TAG: Final = "tag:yaml.org,2002:"
_BOOLEANS: Final = ("yes", "no", "true", "false", "on", "off")
_TAGS: Final = frozenset(_TAG + kind for kind in ("map", "seq", "str", *_READ))


def parse_yaml(where: str, text: object) -> Any:
    """The value of a YAML document: mappings, lists, texts, booleans and None.

    Args:
        where: the name for errors.
        text: the document.

    Raises:
        ConfigurationError: PyYAML is missing; it is no YAML, or one that grows beyond all measure.
    """
    if not isinstance(text, str):
        raise _wrong(where, f"is to be a text, not {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise _wrong(where, f"has more than {MAX_CHARACTERS} characters")
    if find_spec("yaml") is None:
        raise _wrong(
            where,
            "takes PyYAML, which is not installed: python -m pip install 'azdriver[yaml]'",
        )
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: Final = {  # type: ignore[misc]
            first: [pair for pair in pairs if pair[0].rpartition(":")[2] in _READ]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            _measure(where, node)
            return loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        # Not its text, which quotes the line.
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        reason = f"is no YAML of plain values{place}"
    except RecursionError:
        reason = "is nested too deeply"
    raise _wrong(where, reason)


def _measure(where: str, root: Any) -> None:
    """Refuse what aliases would make huge, tags of other kinds, and keys that are given twice.

    Aliases name the same node again, so that the tree may be exponentially larger than its text.
    """
    from yaml import MappingNode, ScalarNode, SequenceNode

    left = MAX_NODES
    waiting = [(root, 0, "")] if root is not None else []
    while waiting:
        node, depth, path = waiting.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise _wrong(where, "is nested too deeply, or has too many parts")
        is_bool = node.tag == f"{_TAG}bool"
        if node.tag not in _TAGS or (is_bool and str(node.value).lower() not in _BOOLEANS):
            raise _wrong(where, "is no YAML of plain values: it has a tag of another kind")
        if isinstance(node, SequenceNode):
            waiting += [(item, depth + 1, path) for item in node.value]
        elif isinstance(node, MappingNode):
            names = set()
            for key, value in node.value:
                name = key.value[:100] if isinstance(key, ScalarNode) else ""
                below = f"{path}.{name}" if path else name
                if name in names:
                    raise _wrong(where if "=" in name else below, "is given twice")
                names.add(name)
                waiting += [(key, depth + 1, below), (value, depth + 1, below)]


def _wrong(parameter: str, reason: str) -> ConfigurationError:
    return ConfigurationError("azdriver", parameter, reason)
