"""Goldens of tests/unit/test_utf8.c: what Python's bytes.decode("utf-8", errors="replace") makes of byte strings.

usage: python gen_utf8.py > tests/goldens/utf8/cases.txt

Lines "case HEX_IN HEX_OUT N_REPLACED N_CHARS"; then "alphabet HEX" and "all LENGTH SHA256 N_REPLACED" for every string of
that many bytes over the alphabet (counted up with the last byte fastest), each decoded alone, outputs joined.
"""
import codecs
import hashlib
import itertools

count = 0


def replace(error):
    global count
    count += 1
    return codecs.replace_errors(error)


codecs.register_error("counted", replace)


def decode(data):
    global count
    count = 0
    text = data.decode("utf-8", errors="counted")
    assert text == data.decode("utf-8", errors="replace")
    return text, count


CASES = [
    b"", b"a", b"plain ascii, longer than eight bytes", "caf\u00e9".encode(), "\u4f60\u597d".encode(), "\U0001f600!".encode(),
    b"\xff", b"\xfe\xff", b"\x80", b"\x80\x80\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\xbd\xed\xb8\x80", b"\xed\x9f\xbf", b"\xee\x80\x80",
    b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80",
    b"\xc3", b"\xe4\xbd", b"\xf0\x9f\x98", b"\xf0\x9f", b"\xf0", b"a\xc3b", b"a\xe4\xbdb", b"a\xf0\x9f\x98b", b"a\xf0\x9fb",
    b"\xe4\xbd\xe4\xbd\xa0", b"\xc3\xc3\xa9", b"12345678\xff12345678\xc3\xa912345678\xe4", b"\x00\xff\x00", b"\xef\xbf\xbd",
    b"\xef\xbb\xbfBOM", b"\xef\xbf\xbe\xef\xbf\xbf", b"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xf0\x90\x80\x80",
]
ALPHABET = bytes.fromhex("00417f808f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5f8ff")

for case in CASES:
    text, n = decode(case)
    print("case", case.hex() or "-", text.encode().hex() or "-", n, len(text))
print("alphabet", ALPHABET.hex())
for length in range(1, 5):
    digest, total = hashlib.sha256(), 0
    for item in itertools.product(ALPHABET, repeat=length):
        text, n = decode(bytes(item))
        digest.update(text.encode())
        total += n
    print("all", length, digest.hexdigest(), total)
