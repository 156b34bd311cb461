"""objects.py ROOT BUILD ORDER: who calls whom, from the symbols of a build's objects; prints every breach.

A file uses what is defined in its folder and in folders before it in ORDER, never what comes later. cuda/ stands beside src/cpu, neither
uses the other. Within a folder files may use each other, but circles of them are counted: at most MAX_CIRCLED files stand in one.
Objects whose source is gone are left over from an older build and not looked at."""
import os
import pathlib
import re
import subprocess
import sys

from source_rules import strong_components

MAX_CIRCLED = 8

root, build, order = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3].split()
rank = {name: i for i, name in enumerate(order)}
rank["cuda"] = rank.get("cpu", len(order))
rank["cli"] = len(order)


def objects():
    """object -> its source, of the program and its library; tests have objects of their own"""
    out = {}
    for o in sorted([*build.glob("CMakeFiles/*.dir/**/*.o"), *build.glob("cuda/*.o")]):
        m = re.search(r"(?:CMakeFiles/(?:llmct_objects|llmct_kernels_\w+|llmct_cuda_\w+|llmct-gpu)\.dir/)((?:src|cuda)/.*\.c)\.o$", o.as_posix())
        source = m.group(1) if m else f"cuda/{o.stem}.cu" if o.parent.name == "cuda" and o.parent.parent == build else None
        if source and (root / source).is_file():
            out[o] = source
    return out


def folder(source):
    parts = source.split("/")
    return parts[1] if parts[0] == "src" else parts[0]


def symbols(found):
    """symbol -> source that defines it; source -> symbols it needs"""
    defines, needs = {}, {}
    listing = subprocess.run(["nm", "-A", "-g", "-P", *map(str, found)], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        path, rest = line.split(": ", 1)
        name, kind = rest.split()[:2]
        source = found[pathlib.Path(path)]
        if kind in "Uw":
            needs.setdefault(source, set()).add(name)
        elif kind not in "vV":
            defines[name] = source
    return defines, needs


def main():
    found = objects()
    if not found:
        print(f"{build}: no objects of src here")
        return
    defines, needs = symbols(found)
    graph = {}
    for source in sorted(needs):
        own = folder(source)
        for name in sorted(needs[source]):
            there = defines.get(name)
            if there is None or there == source:
                continue
            other = folder(there)
            if own == other:
                graph.setdefault(source, set()).add(there)
                graph.setdefault(there, set())
            elif own in rank and other in rank and rank[other] >= rank[own]:
                print(f"{source}:1: {source[:-len(source.split('/')[-1]) - 1]} comes before {there[:-len(there.split('/')[-1]) - 1]}, which defines {name} ({there})")
    circles = strong_components(graph)
    n = sum(len(c) for c in circles)
    if n > MAX_CIRCLED:
        for c in circles:
            print(f"{c[0]}:1: calls itself by way of " + ", ".join(c[1:]))
    print(f"{n} files stand in {len(circles)} circles of calls within their folders, at most {MAX_CIRCLED} may",
          file=sys.stdout if n > MAX_CIRCLED else sys.stderr)


os.environ["LC_ALL"] = "C"
main()
