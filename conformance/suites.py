"""Runs independent SCIM suites against SCIM_URL and prints a line for each check.

A check that is known to fail on purpose stands in deviations.txt with its
reason; one that stands there and passes fails, so that the list stays true.
"""

import json
import os
import pathlib
import subprocess
import sys

from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

BASE, TOKEN = os.environ["SCIM_URL"], os.environ["SCIM_TOKEN"]
HERE = pathlib.Path(__file__).parent


def tester():
    """Run scim2-tester: yield the name of each check, its result and its message."""
    client = Client(base_url=BASE, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    scim = SyncSCIMClient(client)
    scim.discover()
    outcomes = {Status.SUCCESS: "pass", Status.SKIPPED: "skip"}
    for n, result in enumerate(check_server(scim), 1):
        yield f"scim2-tester: {n} {result.title}", outcomes.get(result.status, "fail"), result.reason


def sanity():
    """Run scim-sanity in strict mode."""
    command = [pathlib.Path(sys.executable).with_name("scim-sanity"), "probe", BASE, "--token", TOKEN, "--i-accept-side-effects", "--json-output"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    for result in report["results"]:
        yield f"scim-sanity: {result['name']}", result["status"], result.get("message")


def deviations():
    """Return the names of checks that must fail, with the reasons."""
    known = {}
    for line in HERE.joinpath("deviations.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, reason = line.split(" | ")
            known[name] = reason
    return known


def main():
    known, counts = deviations(), {"pass": 0, "fail": 0, "skip": 0, "deviation": 0}
    for suite in (tester, sanity):
        for name, outcome, says in suite():
            if name in known and outcome == "pass":
                outcome, says = "fail", "it passes, and deviations.txt says that it does not"
            elif name in known and outcome == "fail":
                outcome, says = "deviation", known.pop(name)
            outcome = outcome if outcome in counts else "fail"
            counts[outcome] += 1
            if outcome != "pass":
                print(f"{outcome:9} {name}: {says}")
    for name in known:
        counts["fail"] += 1
        print(f"fail      {name}: stands in deviations.txt, and there is no such check")
    print("suites:", ", ".join(f"{n} {outcome}" for outcome, n in counts.items()))
    return 1 if counts["fail"] or not counts["pass"] else 0


sys.exit(main())
