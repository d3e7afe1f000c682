"""Looks up the pinned packages in an advisory database; needs pip-audit and the network.

Exit codes: 0 no package has a known vulnerability, 1 some have, 2 nothing could be looked up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PINNED = Path(__file__).resolve().parent.parent / "constraints.txt"


def main() -> int:
    """Run pip-audit on the pinned versions and say what it found."""
    words = [sys.executable, "-m", "pip_audit", "--requirement", str(PINNED), "--no-deps"]
    words += ["--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines()
        reason = f" ({lines[-1][:200]})" if lines else ""
        print(f"The advisory database cannot be reached: nothing was audited{reason}.")
        return 2
    # Where the database is a mirror without advisories, every package is skipped.
    skipped = [package for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        reason = skipped[0]["skip_reason"][:200] if skipped else "no packages"
        print(f"The advisory database cannot be reached: nothing was audited ({reason}).")
        return 2
    found = [(package, each) for package in packages for each in package.get("vulns", ())]
    for package, each in found:
        fixed = ", ".join(each["fix_versions"]) or "none yet"
        print(f"{package['name']} {package['version']}: {each['id']}, fixed in: {fixed}")
    print(f"{len(packages) - len(skipped)} packages audited, {len(found)} known vulnerabilities.")
    if skipped:
        print(f"Not in the database: {', '.join(package['name'] for package in skipped)}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
