#!/usr/bin/env python3
"""Positions of a prompt, worked out by Python itself: tests/goldens/position/slices.txt, one line a case,
"n FROM:TO from to", where [from, to) is what Python's slice takes of n tokens (from == to: nothing).

Usage: gen_position.py OUT
"""
import sys

BOUNDS = ["", "0", "1", "3", "7", "8", "9", "100", "-1", "-3", "-8", "-9", "-100"]


def main() -> None:
    with open(sys.argv[1], "w", encoding="ascii") as out:
        for n in (1, 2, 8):
            for a in BOUNDS:
                for b in BOUNDS:
                    taken = list(range(n))[slice(int(a) if a else None, int(b) if b else None)]
                    first, end = (taken[0], taken[-1] + 1) if taken else (0, 0)
                    out.write(f"{n} {a}:{b} {first} {end}\n")


main()
