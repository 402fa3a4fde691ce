"""Makes tables and plots of docs/performance.md out of the raw lines of a run."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.report.columns import EMULATOR, IMPORTS, READS, SMALL, SMALL_WALL, TREES, WRITES
from benchmarks.report.plots import Plots
from benchmarks.report.results import Results
from benchmarks.report.tables import peers_table, race_table, run_text, targets_table
from benchmarks.run import RESULTS


def sections(results: Results) -> dict[str, str]:
    """What the generated parts of the document are."""
    return {
        "run": run_text(results),
        "targets": targets_table(results),
        "small": peers_table(results, SMALL),
        "small-wall": peers_table(results, SMALL_WALL),
        "writes": peers_table(results, WRITES),
        "reads": peers_table(results, READS),
        "trees": peers_table(results, TREES),
        "imports": peers_table(results, IMPORTS),
        "emulator": peers_table(results, EMULATOR),
        "race": race_table(results),
    }


def filled(text: str, parts: dict[str, str]) -> str:
    """The document with its generated parts replaced; each has to be there."""
    for name, part in parts.items():
        pattern = re.compile(f"(<!-- {name}: generated -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = pattern.subn(lambda match, part=part: f"{match[1]}{part}\n{match[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"the document has {count} sections {name!r}, not one")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=RESULTS)
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "performance.md")
    parser.add_argument("--plots", type=Path, default=ROOT / "docs" / "performance")
    parser.add_argument("--print", action="store_true", help="the targets only; writes nothing")
    given = parser.parse_args()
    results = Results(given.results.read_text("utf-8").splitlines())
    if given.print:
        print(run_text(results), targets_table(results), sep="\n\n")
        return
    text = given.document.read_text("utf-8")
    given.document.write_text(filled(text, sections(results)), "utf-8")
    try:
        drawn = Plots(results, given.plots).draw()
    except ImportError as error:
        sys.exit(f"the tables are written, but no plots are drawn: {error}")
    print(f"{given.document}; {', '.join(drawn)} in {given.plots}")


if __name__ == "__main__":
    main()
