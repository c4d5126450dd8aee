"""Holds the output of `cargo metadata`, on standard input, against the lists of deny.toml. See licenses.sh."""

import json
import re
import sys
import tomllib


def is_allowed(license, allowed):
    """Whether the SPDX expression `license` can be met by licenses of `allowed`."""
    words = re.findall(r"\(|\)|[^\s()/]+|/", license)
    parts, i = [], 0
    while i < len(words):
        word = words[i]
        if words[i + 1 : i + 2] == ["WITH"]:
            word, i = " ".join(words[i : i + 3]), i + 2
        operator = {"(": "(", ")": ")", "AND": "and", "OR": "or", "/": "or"}.get(word)
        parts.append(operator or str(word in allowed))
        i += 1
    return eval(" ".join(parts))  # Made of brackets, `and`, `or`, `True` and `False` alone.


def main():
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    allowed = set(rules["licenses"]["allow"])
    banned = {rule["crate"] for rule in rules["bans"]["deny"]}
    metadata = json.load(sys.stdin)
    members = set(metadata["workspace_members"])
    found, sources = [], set()
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            found.append(f"{name}: is banned")
        if package["id"] in members:
            wild = [d["name"] for d in package["dependencies"] if d["req"] == "*" and not d.get("path")]
            found += [f"{name}: takes any version of {dependency}" for dependency in wild]
            continue
        sources.add(package["source"])
        license = package["license"]
        if not license or not is_allowed(license, allowed):
            found.append(f"{name}: expected licenses of {sorted(allowed)}, got {license}")
    if len(sources) != 1 or not str(*sources).startswith("registry+"):
        found.append(f"expected one registry as the source of all, got {sources}")
    assert len(metadata["packages"]) > 50, "too few packages were seen"
    if found:
        sys.exit("\n".join(f"licenses: {line}" for line in found))
    print(f"licenses: {len(metadata['packages'])} packages, all allowed")


main()
