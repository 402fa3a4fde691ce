"""How the documentation is built: ``nox -s docs``, without a network.

A warning is an error there, and so is a reference that leads nowhere. There is no intersphinx: it
would fetch other projects' inventories at every build, which then fails when one of their sites
does. The names of other projects are shown in full instead, and not linked.
"""

import builtins
import os
import re
import sys
from typing import Any

import azdriver

# The command line shows where its configuration is: not on the machine that builds this.
os.environ["XDG_CONFIG_HOME"] = "~/.config"

project = "azdriver"
author = "The azdriver authors"
project_copyright = author  # no year: it would change the pages without a change of ours
version = release = azdriver.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
smartquotes = False  # it makes a dash of the options of commands
html_theme = "furo"
html_title = f"azdriver {version}"
html_copy_source = False

# The anchors that a git host gives to headings, so that links to them are valid in both places.
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of azure-core are not in our form
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True}
# What annotations name as it is in the source.
autodoc_type_aliases = {"Buffer": "azdriver.Buffer", "StoragePath": "azdriver.StoragePath"}
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are described once, in the class's own text

# References that lead nowhere are warnings; those into other projects are not ours to resolve.
nitpicky = True
_OTHERS = "|".join(sorted({*sys.stdlib_module_names, "aiohttp", "anyio", "azure", "pytest"}))
nitpick_ignore_regex = [
    (r"py:.*", rf"(?:{_OTHERS})\..+"),
    (r"py:.*", "|".join(sorted(name for name in vars(builtins) if name.isidentifier()))),
    (r"py:.*", r"azdriver\.(?:\w+\.)*_\w+"),  # private types, named in annotations
]


_OUTSIDE = re.compile(r"\[([^]]+)\]\(((?:\.\./)+(?:\w+/)?[A-Z]+\.md)\)")


def _link_outside(app: Any, docname: str, source: list[str]) -> None:
    """Markdown files beside the documentation, such as the changelog, are downloads on the site.

    On a git host they are pages, so that the link has to be an ordinary one in the source.
    """
    source[0] = _OUTSIDE.sub(r"{download}`\1 <\2>`", source[0])


def setup(app: Any) -> None:
    app.connect("source-read", _link_outside)
