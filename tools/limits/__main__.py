"""The command line: `python -m tools.limits`, in the repository's root, on a quiet machine.

It measures this machine on one thread, in two minutes, keeps the numbers in machines/, and writes
docs/limits.md, which has a section for each machine that was measured. `--page` writes the page alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.limits import page
from tools.limits.measure import measure


def main() -> int:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.limits", description=__doc__)
    parser.add_argument("--page", action="store_true", help="only write the page, of earlier numbers")
    if not parser.parse_args().page:
        try:
            with tempfile.TemporaryDirectory() as folder:
                measured = measure(Path(folder))
        except (FileNotFoundError, RuntimeError) as error:
            print(f"tools.limits: {error}", file=sys.stderr)
            return 1
        page.save(measured, page.MACHINES / f"{measured['model']}-{measured['isa']}.json")
    page.PAGE.write_text(page.render(page.machines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
