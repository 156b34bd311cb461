"""Texts that try a tokenizer: fuzzed strings, and the messages of the shared data."""
import json
import random
import unicodedata

ASCII = "".join(map(chr, range(32, 127)))
SPECIALS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "</tool_call>", "<think>", "</think>", "<|im_start|", "<|im_",
            "<|", "|>", "<|im_start|>system\n", "<|im_end|>\n", "<|IM_START|>", "<|im\u200b_start|>", "<think", "<repo_name>",
            "<|fim_prefix|>", "<tool_response>", "<<|im_end|>>", "<|begin_of_text|>", "<|eot_id|>"]
WORDS = ["the", "I", "don't", "you're", "WE'VE", "She'll", "it's", "let\u2019s", "o'clock", "I'M", "'tis", "hello", "World", "na\u00efve",
         "caf\u00e9", "cafe\u0301", "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m", "stra\u00dfe", "\u4f60\u597d", "\u4e16\u754c", "\u3053\u3093\u306b\u3061\u306f",
         "\ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab\u1100\u116e\u11a8", "\u0645\u0631\u062d\u0628\u0627", "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947",
         "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "\u041f\u0440\u0438\u0432\u0435\u0442", "12345", "3.14159", "1,000,000", "0x7fFF", "https://a.b/c?d=e&f", "foo_bar", "if(x==1){",
         "\u2026", "\u2014", "\u201cq\u201d", "\u00bd", "\u2167", "\u0661\u0662\u0663", "\u09e7\u09e8", "\ufb01n", "\u212b", "\u2126", "\u212a"]
APOSTROPHES = ["'", "\u2019", "\u02bc", "\uff07", "`"]
TAILS = ["s", "S", "t", "T", "re", "RE", "rE", "ve", "Ve", "m", "M", "ll", "LL", "lL", "d", "D", "\u017f", "\u017f\u017f", "\u212a", "k", "r", "l", "v",
         "r\u00e9", "st", "\ufb05", "\ufb06", "\u0131", "l\u017f"]
EMOJI = ["\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea",
         "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1\ufe0f\u20e3", "\U0001f937\U0001f3fb\u200d\u2642\ufe0f", "\U0001fae8", "\U0001fac8"]
SPACES = [" ", "\n", "\t", "\r", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\u200b", "\ufeff", "\u180e",
          "\x1c", "\x1f", "\u1680", "\u202f", "\u205f"]
MARKS = [c for c in range(0x300, 0x1F000) if unicodedata.category(chr(c)).startswith("M")]
COMPOSABLE = [c for c in range(0xC0, 0x30000) if unicodedata.decomposition(chr(c)) and not unicodedata.decomposition(chr(c)).startswith("<")]
NUMBERS = [c for c in range(0x110000) if unicodedata.category(chr(c)).startswith("N")]
BLOCKS = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0x530), (0x530, 0x700), (0x700, 0x900), (0x900, 0xE00), (0xE00, 0x1100), (0x1100, 0x1200),
          (0x1200, 0x1E00), (0x1E00, 0x2000), (0x2000, 0x2C00), (0x2C00, 0x3000), (0x3000, 0x3400), (0x3400, 0x4E00), (0x4E00, 0xA000),
          (0xA000, 0xAC00), (0xAC00, 0xD7B0), (0xD7B0, 0xD800), (0xE000, 0xF900), (0xF900, 0x10000), (0x10000, 0x12000), (0x12000, 0x17000),
          (0x17000, 0x1B000), (0x1B000, 0x1F000), (0x1F000, 0x1FC00), (0x20000, 0x32400), (0xE0000, 0xE0200), (0xF0000, 0x110000)]


def from_block(r):
    a, b = r.choice(BLOCKS)
    return "".join(chr(r.randrange(a, b)) for _ in range(r.randint(1, 8)))


def piece(r):
    k = r.randrange(15)
    if k == 0:
        return r.choice(SPECIALS)
    if k in (1, 2):
        return r.choice([" ", "", "\n", "  "]) + r.choice(WORDS)
    if k == 3:
        return r.choice(["", "I", "he ", "\u00e9"]) + r.choice(APOSTROPHES) + r.choice(TAILS) + r.choice(["", "x", " ", "1"])
    if k == 4:
        return r.choice(EMOJI) * r.choice([1, 1, 1, 2, 5])
    if k == 5:
        return "".join(r.choice(SPACES[: r.choice([2, 5, len(SPACES)])]) for _ in range(r.randint(1, 12)))
    if k == 6:
        return r.choice([" ", "\n", "\t", "\r\n"]) * r.randint(1, r.choice([5, 40, 200]))
    if k == 7:
        marks = r.choice([MARKS, MARKS, range(0x300, 0x346), [0x300, 0x301, 0x302, 0x304, 0x305, 0x307, 0x30A, 0x31B, 0x323, 0x327, 0x345]])
        return r.choice("aoeunAO \u05d0\u0915\u4e00\u03b1") + "".join(chr(r.choice(marks)) for _ in range(r.randint(1, r.choice([3, 20]))))
    if k == 8:
        return unicodedata.normalize(r.choice(["NFD", "NFC", "NFKD"]), chr(r.choice(COMPOSABLE)))
    if k == 9:
        return chr(r.choice(COMPOSABLE)) + chr(r.choice(MARKS))
    if k == 10:
        return "".join(chr(r.choice([r.randrange(0x1100, 0x1200), r.randrange(0xAC00, 0xD7A4), r.randrange(0x11A8, 0x11C3)]))
                       for _ in range(r.randint(1, 5)))
    if k == 11:
        return r.choice([str(r.randrange(10 ** r.randint(1, 12))), "".join(chr(r.choice(NUMBERS)) for _ in range(r.randint(1, 5)))])
    if k == 12:
        return "".join(r.choice(ASCII) for _ in range(r.randint(1, 20)))
    if k == 13:
        raw = bytes(r.randrange(256) for _ in range(r.randint(1, 12)))
        return raw.decode("utf-8", errors="replace")
    return from_block(r)


def any_char(r):
    while True:
        c = r.randrange(0x110000)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def fuzz(n, seed=1, most=12):
    r = random.Random(seed)
    for i in range(n):
        if i % 50 == 49:
            yield "".join(any_char(r) for _ in range(r.randint(1, 30)))
        else:
            yield "".join(piece(r) for _ in range(r.randint(1, most)))


def every_char():
    """Each code point of the assigned planes between letters, behind an apostrophe and doubled."""
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000 or 0x32400 <= c < 0xE0000 or c >= 0xE0200:
            continue
        yield f"a{chr(c)}b '{chr(c)} {chr(c)}{chr(c)}\n{chr(c)}1"


def messages(path):
    with open(path, encoding="utf-8") as f:
        for line in f:
            for m in json.loads(line)["messages"]:
                yield m["content"]
