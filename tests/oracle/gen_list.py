"""Goldens of tests/unit/test_list.c: Python's slices, and lists of numbers as Python's own splitting and ranges read them.

usage: python gen_list.py > tests/goldens/list/cases.txt

Lines "slice N FROM TO FIRST END", "-" for a bound that is left out; "numbers TEXT MASK" (0/1 of the numbers 0 .. 9, "bad" where the list has
something else).
"""
import itertools
import re

for n, a, b in itertools.product((0, 1, 3, 5), (None, *range(-7, 8)), (None, *range(-7, 8))):
    first, end, _ = slice(a, b).indices(n)
    print("slice", n, "-" if a is None else a, "-" if b is None else b, first, max(first, end))

PARTS = ("0", "3", "9", "10", "2-5", "5-2", "4-4", "7-12", "0-9", "-1", "3-", "-", "", "x", "1x", "1-2-3", "0x3", "99999999999999999999")


def mask(text):
    chosen = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None:
            return "bad"
        low, high = int(match[1]), int(match[2] or match[1])
        if not low <= high <= 9:
            return "bad"
        chosen.update(range(low, high + 1))
    return "".join(str(int(i in chosen)) for i in range(10))


for text in (*PARTS, *(f"{a},{b}" for a, b in itertools.product(PARTS, PARTS))):
    print("numbers", f'"{text}"', mask(text))
