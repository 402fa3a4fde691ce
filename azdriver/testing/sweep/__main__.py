"""Prints the table of outcomes; the status is 1 if any of them is wrong."""

from __future__ import annotations

import asyncio

from azdriver.testing.azurite import azurite
from azdriver.testing.sweep import CASES, Lab, cancel_everywhere, sweep, table


async def _main() -> int:
    async with azurite() as server:
        lab = Lab(server.connection_string)
        cells = await sweep(lab)
        for case in CASES:
            cells += await cancel_everywhere(lab, case)
    print(table(cells))
    wrong = [cell for cell in cells if cell.wrong]
    for cell in wrong:
        print(f"WRONG: {cell.case}, {cell.fault} at {cell.place}: {cell.wrong}")
    print(f"\n{len(cells)} runs, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(_main()))
