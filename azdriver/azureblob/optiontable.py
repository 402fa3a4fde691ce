"""The table of all options and parameters, made out of the code.

python -m azdriver.azureblob.optiontable > docs/reference/options.md
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

from azdriver.azureblob.environment import VARIABLES
from azdriver.azureblob.options import AzureBlobOptions, RetrySettings
from azdriver.azureblob.parametertable import (
    CONNECTION,
    CREDENTIALS,
    LAYOUT,
    OPTIONS,
    RETRY,
    opposite_of,
)

__all__ = ["option_table"]

_ATTRIBUTE: Final = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
# Those whose parameters do not simply carry their value.
_PARAMETERS: Final = {
    "account_url": "`accountname` with `realm`, or `serviceurl`",
    "container": "`container`",
    "credential": "`accountkey`, `sastoken` or `credentials`",
    "legacy_root_prefix": "`legacyrootprefix`, or its opposite `trimlegacyrootprefix`",
    "retry": "those [below](#retries)",
}


def option_table() -> str:
    """The page, in Markdown."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Options"
    yield ""
    yield "<!-- Made by: python -m azdriver.azureblob.optiontable > docs/reference/options.md -->"
    yield ""
    yield "An option is an attribute of `AzureBlobOptions`, and a keyword argument of"
    yield "`AzureBlobDriver.from_connection_string`. A parameter is its name in the configuration"
    yield "of the container registry, in `open_driver`, and in the query of an URL."
    yield ""
    yield "Durations are seconds, or as Go writes them: `100ms`, `2s`, `1m30s`. Sizes are in bytes."
    yield ""
    yield from _options(AzureBlobOptions, OPTIONS)
    yield ""
    yield "## Retries"
    yield ""
    yield "The attributes of `RetrySettings`, which `retry` is."
    yield ""
    yield from _options(RetrySettings, RETRY)
    yield ""
    yield "## Account and credential"
    yield ""
    yield from _rows(
        ("parameter", "meaning"),
        ((f"`{name}`", meaning) for name, meaning in {**CONNECTION, **LAYOUT}.items()),
    )
    yield ""
    yield "`credentials` has a `type`, and what belongs to it. In an URL they are written with a"
    yield "dot: `credentials.type=anonymous`."
    yield ""
    yield from _rows(
        ("type", "what else it has"),
        (
            (f"`{kind}`", ", ".join(f"`{part}`" for part in parts) or "nothing")
            for kind, parts in CREDENTIALS.items()
        ),
    )
    yield ""
    yield "## Environment"
    yield ""
    yield "`from_url` looks here for what the URL does not say, and so does"
    yield "`AzureBlobDriver.from_environment`. The first credential in this order is taken. With"
    yield "none of them it is `DefaultCredential`, unless the mode is `key`. One of another account"
    yield "than the URL's is an error."
    yield ""
    yield from _rows(
        ("variable", "meaning"),
        ((f"`{name}`", meaning) for name, meaning in VARIABLES.items()),
    )


def _options(kind: type[Any], table: dict[str, tuple[str, Any]]) -> Iterator[str]:
    meanings = {
        name: re.sub(r"\s+", " ", text).replace("``", "`").rstrip(".")
        for name, text in _ATTRIBUTE.findall(inspect.getdoc(kind) or "")
    }
    names = dict(_PARAMETERS)
    for parameter, (option, convert) in table.items():
        names[option] = f"`{parameter}`" + (" (the opposite)" if convert is opposite_of else "")
    yield from _rows(
        ("option", "parameter", "default", "meaning"),
        (
            (
                f"`{field.name}`",
                names[field.name],
                _default(field),
                meanings[field.name],
            )
            for field in dataclasses.fields(kind)
        ),
    )


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        return "to be given"
    if isinstance(value, RetrySettings):
        return "[below](#retries)"
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, str):
        return f"`{value}`"
    unit = field.name.rpartition("_")[2]
    if unit == "seconds":
        return f"{value:g} s"
    for size, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if value % size == 0:
            return f"{value // size} {name}"
    return str(value)


def _rows(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (titles, ("---",) * len(titles), *rows):
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    sys.stdout.write(option_table())
