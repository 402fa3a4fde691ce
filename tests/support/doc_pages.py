"""The pages of README and documentation, and the code in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

__all__ = ["DOCS", "FENCE", "PAGES", "ROOT", "Block", "blocks_of", "commands_of", "name_of"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *(ROOT / place / "README.md" for place in ("benchmarks", "examples")),
    *sorted(DOCS.rglob("*.md")),
]
FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# ([\w-]+\.(?:py|yml|toml))\n")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    code: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def is_test(self) -> bool:
        return bool(re.search(r"^(async )?def test_|^class Test", self.code, re.MULTILINE))

    @property
    def is_named(self) -> bool:
        return _NAMED.match(self.code) is not None

    @property
    def file_name(self) -> str:
        """What it says in its first line, or the number of its own."""
        named = _NAMED.match(self.code)
        prefix = "test_" if self.is_test else ""
        return named[1] if named else f"{prefix}line_{self.line}.py"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2])
        for match in FENCE.finditer(text)
    ]


def commands_of(block: Block) -> list[list[str]]:
    """The commands of a block, in words, without the variables set for one of them."""
    commands: list[list[str]] = []
    for line in re.sub(r"\\\n\s*", " ", block.code).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = chain(lexer, ";")
        command: list[str] = []
        for word in words:
            if re.fullmatch(r"[();|&]+", word):
                commands += [command] if command else []
                command = []
            elif word in (">", "<"):
                next(words)  # a file
            elif command or not re.match(r"[A-Z_]+=", word):
                command.append(word)
    return commands
