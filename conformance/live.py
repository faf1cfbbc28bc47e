"""Runs a command against a live Sallyport: live.py SALLYPORT COMMAND...

The command finds the base URL in SCIM_URL and a token in SCIM_TOKEN.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

CONFIG = """public_url: http://localhost:8443
listen: {public: 127.0.0.1:0, scim: 127.0.0.1:0, ops: 127.0.0.1:0}
tls: {off: true}
store: {bolt: {path: sallyport.db}}
control: {socket: control.sock}
audit: {file: audit.jsonl}
oidc: {issuer: http://localhost:1, client_id: none, client_secret_file: secret}
scim: {max_deactivations: {count: 0}}
policies: [{name: nobody, rules: [{allow: {users: [nobody]}}]}]
routes: [{name: none, host: none.localhost, upstream: http://127.0.0.1:1, policy: [nobody]}]
"""


def address(server):
    """Return the address of the scim listener, from the server's log."""
    addresses = {}
    for line in server.stderr:
        entry = json.loads(line)
        if entry.get("msg") == "listening":
            addresses[entry["server"]] = entry["addr"]
        if len(addresses) == 4:
            return addresses["scim"]
    sys.exit("the server ended before it listened")


def main(sallyport, *command):
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder, "sallyport.yaml")
        config.write_text(CONFIG)
        pathlib.Path(folder, "secret").write_text("none")
        server = subprocess.Popen([sallyport, "serve", "--init", "-c", config], stderr=subprocess.PIPE, text=True)
        try:
            base = f"http://{address(server)}/scim/v2"
            made = subprocess.run([sallyport, "token", "create", "conformance", "-o", "json", "-c", config], capture_output=True, check=True)
            # The rest of the log is not read; it must not block the server.
            subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
            token = json.loads(made.stdout)["token"]
            return subprocess.run(command, env=os.environ | {"SCIM_URL": base, "SCIM_TOKEN": token}).returncode
        finally:
            server.kill()
            server.wait()


sys.exit(main(*sys.argv[1:]))
