"""What does an import cost: seconds, memory, and modules, in a fresh interpreter?"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import Final

from benchmarks.harness import ROOT, Session, arguments, session

__all__ = ["measure"]

IMPORTS: Final = {
    "azdriver": "import azdriver",
    "azdriver-azure": "from azdriver import AzureBlobDriver",
    "sdk": "from azure.storage.blob.aio import BlobServiceClient",
    "obstore": "import obstore",
    "opendal": "import opendal",
    "adlfs": "import adlfs",
}

_CODE: Final = """
import json, resource, sys, time
before = set(sys.modules)
cpu = time.process_time()
began = time.perf_counter()
{statement}
seconds = time.perf_counter() - began
cpu = time.process_time() - cpu
new = set(sys.modules) - before
print(json.dumps({{
    "seconds": round(seconds, 6),
    "cpu_seconds": round(cpu, 6),
    "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "modules": len(new),
    "azure_modules": len([m for m in new if m.split(".")[0] in ("azure", "aiohttp")]),
}}))
"""


def measure(run: Session) -> None:
    names = ["azdriver"] if run.settings.is_quick else sorted(IMPORTS)
    # The first round reads the disk, and writes the compiled files; it does not count.
    for number in range(0 if run.settings.is_quick else -1, run.settings.rounds):
        for name in random.sample(names, k=len(names)):
            done = subprocess.run(
                [sys.executable, "-c", _CODE.format(statement=IMPORTS[name])],
                capture_output=True,
                text=True,
                check=False,
                cwd=ROOT,
            )
            if done.returncode:
                reason = done.stderr.strip().splitlines()[-1]
                if "ModuleNotFoundError" not in reason:
                    run.output.failed(f"import of {name}: {reason}")
                elif number == 0:
                    run.output.say(f"LEFT OUT: import of {name}: {reason}")
                continue
            if number >= 0:
                row = {"workload": "import", "peer": name, "round": number}
                run.output.row(row | json.loads(done.stdout))


if __name__ == "__main__":
    with session(arguments(__doc__)) as run:
        measure(run)
