"""Asks the vulnerability service about every pinned package, with pip-audit.

The exit status is 1 if it knows a vulnerability in one of them. If it cannot be reached, or does
not know a package, that is said, and nothing more: it is no fault of what is checked.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    report = Path(folder) / "report.json"
    locks = [argument for lock in sys.argv[1:] for argument in ("--requirement", lock)]
    # The pinned versions are looked up as they are, without asking an index for anything.
    options = ["--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json"]
    audit = subprocess.run(
        ["pip-audit", *options, "--output", report, *locks],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    packages = json.loads(report.read_text())["dependencies"] if report.exists() else None

if packages is None:
    print(audit.stderr, "THE AUDIT DID NOT HAPPEN: pip-audit ended without a report", sep="\n")
    sys.exit()

vulnerable = [
    f"{package['name']} {package['version']}: {found['id']}, repaired in {found['fix_versions']}"
    for package in packages
    for found in package.get("vulns", [])
]
skipped = [package["name"] for package in packages if "skip_reason" in package]
print(*vulnerable, sep="\n")
print(f"{len(packages) - len(skipped)} packages audited, {len(vulnerable)} vulnerabilities known")
if skipped:
    print(f"THE AUDIT DID NOT HAPPEN for {len(skipped)}, of which nothing is known:", *skipped)
sys.exit(bool(vulnerable))
