#!/usr/bin/env python3
"""Pushes the users of a Keycloak realm, and some of its groups, to Sallyport by SCIM: docs/providers/keycloak.md.

It compares both sides, pushes what differs, takes access away before it gives any, and ends; run it every minute. Nothing else
may push to the same Sallyport: users who are not in the realm are deleted, and groups that are not named. The environment has

  KEYCLOAK_REALM      such as https://keycloak.example.com/realms/company
  KEYCLOAK_CLIENT     a client with a service account that has the role view-users of realm-management
  KEYCLOAK_SECRET     a file with its secret
  KEYCLOAK_GROUPS     paths of the groups to push, separated by commas, such as /research,/plant; without it, no groups
  SALLYPORT_SCIM      such as https://scim.example.com:8444/scim/v2
  SALLYPORT_TOKEN     a file with a token of `sallyport token create`
  SSL_CERT_FILE       the certificates that sign those of both, if they are not the system's
"""
import json
import os
import sys
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

PAGE = int(os.environ.get("PAGE", "500"))  # how many are read at once
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def secret(name):
    with open(os.environ[name], encoding="utf-8") as file:
        return file.read().strip()


def call(method, url, token=None, body=None, content_type="application/json"):
    headers = {"Content-Type": content_type}
    if token:
        headers["Authorization"] = "Bearer " + token
    with urlopen(Request(url, body, headers, method=method), timeout=30) as response:
        text = response.read()
        return json.loads(text) if text else None


class Realm:
    def __init__(self):
        realm = os.environ["KEYCLOAK_REALM"].rstrip("/")
        form = {"grant_type": "client_credentials", "client_id": os.environ["KEYCLOAK_CLIENT"], "client_secret": secret("KEYCLOAK_SECRET")}
        self.token = call("POST", realm + "/protocol/openid-connect/token", body=urlencode(form).encode(), content_type="application/x-www-form-urlencoded")["access_token"]
        self.admin = realm.replace("/realms/", "/admin/realms/")

    def all(self, path):
        found = {}
        while True:
            page = call("GET", f"{self.admin}{path}?first={len(found)}&max={PAGE}", self.token)
            before = len(found)
            found.update((one["id"], one) for one in page)
            if len(page) < PAGE:
                return found
            if len(found) != before + PAGE:
                raise ValueError("the realm changed while it was read; the next run reads it again")  # the same one twice

    def users(self):
        """All users. Nobody may be missing because others came or went between two pages: they would be deleted."""
        before = call("GET", self.admin + "/users/count", self.token)
        found = self.all("/users")
        if not before == len(found) == call("GET", self.admin + "/users/count", self.token):
            raise ValueError("users came or went while they were read; the next run reads them again")
        return {key: user_of(u) for key, u in found.items()}

    def groups(self):
        """The named groups, and the names that are no group's."""
        found, missing = {}, []
        for path in filter(None, os.environ.get("KEYCLOAK_GROUPS", "").split(",")):
            try:
                group = call("GET", f"{self.admin}/group-by-path/{quote(path.strip('/'))}", self.token)
            except HTTPError as err:
                if err.code != 404:
                    raise
                missing.append(path)
                continue
            found[group["id"]] = (group["name"], set(self.all(f"/groups/{group['id']}/members")))
        return found, missing


def user_of(u):
    """The fields of a SCIM user that are compared and pushed."""
    email = u.get("email")
    return {"userName": u["username"], "active": u["enabled"], "displayName": " ".join(filter(None, (u.get("firstName"), u.get("lastName")))) or u["username"],
            "emails": [{"value": email, "primary": True}] if email else []}


class Sallyport:
    def __init__(self):
        self.base, self.token = os.environ["SALLYPORT_SCIM"].rstrip("/"), secret("SALLYPORT_TOKEN")
        self.pushed = self.failed = 0

    def all(self, kind):
        """What was pushed before, by externalId."""
        found, start = {}, 1
        while True:
            page = call("GET", f"{self.base}/{kind}?startIndex={start}&count={PAGE}", self.token)
            found.update((one["externalId"], one) for one in page.get("Resources", []) if "externalId" in one)
            start += PAGE
            if start > page["totalResults"]:
                return found

    def push(self, method, path, body=None):
        """Pushes, and goes on if that failed: one deactivation that is held must not keep the others back."""
        try:
            made = call(method, f"{self.base}/{path}", self.token, body and json.dumps(body).encode(), "application/scim+json")
            self.pushed += 1
            return made
        except HTTPError as err:
            self.failed += 1
            print(f"{method} {path}: {err.code} {err.read().decode(errors='replace')}", file=sys.stderr)
            return None

    def patch(self, path, *operations):
        self.push("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


def differs(before, wanted):
    emails = [e["value"] for e in before.get("emails", [])]
    return any(before.get(key) != wanted[key] for key in ("userName", "active", "displayName")) or emails != [e["value"] for e in wanted["emails"]]


def main():
    realm, sallyport = Realm(), Sallyport()
    users, (groups, missing) = realm.users(), realm.groups()  # everything is read before anything is pushed
    known, known_groups = sallyport.all("Users"), sallyport.all("Groups")
    if not users:
        raise ValueError("the realm has no users; that cannot be meant")

    # What takes access away comes first.
    for key, before in known.items():
        if key not in users:
            sallyport.push("DELETE", "Users/" + before["id"])
        elif before.get("active") and not users[key]["active"]:
            sallyport.patch("Users/" + before["id"], {"op": "replace", "path": "active", "value": False})
    for path in missing:  # users go on, because nobody who leaves may stay for it; groups are not deleted, because it may be a slip
        sallyport.failed += 1
        print(f"the realm has no group {path}; correct KEYCLOAK_GROUPS", file=sys.stderr)
    if groups and not missing:
        for key, before in known_groups.items():
            if key not in groups:
                sallyport.push("DELETE", "Groups/" + before["id"])
    ids = {key: before["id"] for key, before in known.items() if key in users}
    for key, (_, members) in groups.items():
        if before := known_groups.get(key):
            wanted = {ids[m] for m in members if m in ids}
            for member in before.get("members", []):
                if member["value"] not in wanted and member["value"] in ids.values():
                    sallyport.patch("Groups/" + before["id"], {"op": "remove", "path": f'members[value eq "{member["value"]}"]'})

    for key, wanted in users.items():
        before = known.get(key)
        if before is None:
            made = sallyport.push("POST", "Users", {"schemas": [USER], "externalId": key, **wanted})
            if made:
                ids[key] = made["id"]
        elif differs({**before, "active": before.get("active") and wanted["active"]}, wanted):
            sallyport.patch("Users/" + before["id"], {"op": "replace", "value": wanted})
    for key, (name, members) in groups.items():
        wanted = [{"value": ids[m]} for m in sorted(members) if m in ids]
        before = known_groups.get(key)
        if before is None:
            sallyport.push("POST", "Groups", {"schemas": [GROUP], "externalId": key, "displayName": name, "members": wanted})
            continue
        if before["displayName"] != name:
            sallyport.patch("Groups/" + before["id"], {"op": "replace", "path": "displayName", "value": name})
        there = {m["value"] for m in before.get("members", [])}
        if new := [m for m in wanted if m["value"] not in there]:
            sallyport.patch("Groups/" + before["id"], {"op": "add", "path": "members", "value": new})
    print(f"{sallyport.pushed} pushed, {sallyport.failed} failed")
    return 1 if sallyport.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (URLError, OSError, ValueError, KeyError) as err:
        sys.exit(f"nothing more is pushed: {type(err).__name__}: {err}")
