#!/usr/bin/env python3
"""Writes tests/goldens/tokenizer: four small tokenizers trained by `tokenizers` on words of our own, three of them as GGUF too,
and what `tokenizers` makes of fuzzed strings with them. Usage: gen_tokenizer.py FOLDER

cases.jsonl.gz, one case a line: k tokenizer, t text, i ids, o offsets in bytes (begin - previous begin, length), s ids with special
tokens where they differ, c 1 where NFC changes the text, d decoded text where it differs from t, x decoded without special tokens
where that differs from d. A case without t decodes the ids i.
parts.jsonl.gz: k pre-tokenizer, t text, p lengths of its pieces in bytes; k nfc, t text, n its NFC.
"""
import gzip
import hashlib
import array
import json
import pathlib
import random
import sys

import tokenizer_texts
from check_tokenizer import byte_offsets, missing_bytes
from gguf import GGUFWriter, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
ODD = r"[A-Z]?[a-z]+(?=[^a-z]|$)|[0-9]{2}|\s+(?!\S)|#"
CORPUS = """The machine looks into every layer of a model while it reads, and it keeps what it saw. A sentence of joy is not a sentence
of fear; still the first layers hardly tell them apart. She didn't say why, I'd say she couldn't, they're sure we've seen it, it'll rain.
Numbers: 1 22 333 4444 2024 3.14. Code: for (int i = 0; i < n; i++) { sum += x[i]; }   // four  spaces\n\n\n\tand tabs\t\tthere.
Am Morgen fuhr der Zug über die Brücke, und niemand wußte, wohin. Le café était fermé, la forêt silencieuse. El niño soñó con el mar.
Мы молчали, потому что вечер был тихий. 我们昨天去了海边，风很大，但是大家都很高兴。今日は雨が降っています。どこへ行きますか。
오늘은 날씨가 좋아서 모두가 웃었다. كان الصباح هادئا وكان البحر بعيدا. הבוקר היה שקט והים היה רחוק. सुबह शांत थी और समुद्र दूर था।
😀 👍🏽 ❤️ hello HELLO Hello hello hello world world, the the the and and of of to to in in a a that that was was
<system> user assistant role content message emotion happy sad angry afraid calm love hate peace hope joy grief envy pride shame
""" * 4
CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def train(pre, normalizer=None, size=560, alphabet=None):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    if normalizer is not None:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet() if alphabet is None else alphabet
    t.train_from_iterator(CORPUS.split("\n"), trainers.BpeTrainer(vocab_size=size, initial_alphabet=letters, show_progress=False,
                                                                 limit_alphabet=len(letters), special_tokens=[]))
    return t


def byte_level(**kw):
    return pre_tokenizers.ByteLevel(**{"add_prefix_space": False, "use_regex": False, **kw})


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def qwen():
    t = train(pre_tokenizers.Sequence([split(QWEN), byte_level()]), normalizers.NFC())
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    t.add_special_tokens([AddedToken(c, normalized=False, special=True) for c in CHAT])
    t.add_tokens([AddedToken(c, normalized=False, special=False) for c in ("<tool_call>", "</tool_call>", "<think>", "</think>", "<<", "<<<", "<<|")])
    return t


def llama():
    t = train(pre_tokenizers.Sequence([split(LLAMA), byte_level()]))
    t.add_special_tokens([AddedToken(c, normalized=False, special=True) for c in ("<|begin_of_text|>", "<|eot_id|>", "<|eom_id|>")])
    t.post_processor = processors.Sequence([
        processors.ByteLevel(add_prefix_space=True, trim_offsets=True),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
                                      special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])
    return t


def smol():
    alphabet = [c for c in pre_tokenizers.ByteLevel.alphabet() if c not in "\u0100\u0101\u0104\u00c0\u00c1\u00f5\u00f6\u00f7\u00f8"]
    t = train(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)]), size=500, alphabet=alphabet)
    t.add_special_tokens([AddedToken(c, normalized=False, special=True) for c in CHAT])
    return t


def odd():
    pre = [split(ODD), pre_tokenizers.Digits(individual_digits=False), byte_level(add_prefix_space=True, use_regex=True)]
    t = train(pre_tokenizers.Sequence(pre), normalizers.Sequence([normalizers.NFC()]))
    t.post_processor = processors.ByteLevel(add_prefix_space=True, trim_offsets=True)
    t.add_special_tokens([AddedToken("[S]", lstrip=True, rstrip=True, normalized=False, special=True), AddedToken("[SS]", normalized=False)])
    t.add_tokens([AddedToken("cat", single_word=True, normalized=False), AddedToken("caf\u00e9", normalized=True),
                  AddedToken("A\u030a x", lstrip=True, normalized=True), AddedToken("\u2014", rstrip=True, normalized=False),
                  AddedToken("dog", single_word=True, normalized=True)])
    return t


PIECES = {"odd": [" [S] ", "[S]", "[SS]", "cat", "cats", " cat ", "dog", "hotdog", "dog\u00e9", "caf\u00e9", "cafe\u0301", " \u00c5 x", "A\u030a x", "\u2014 ",
                  "\u2014", "  ", "\u3000", "#", "12", "Abc", "cat\u200d", "\u00a0"],
          "llama": ["<|begin_of_text|>", "<|eot_id|>", "<|eom_id|>", " 1234567", "12 34", "\u00bd\u00bd\u00bd\u00bd", " the", "message"],
          "qwen": ["<<|im_end|>>", "<<", "<<<", "<tool_call>", "<think>\n\n</think>\n\n"], "smol": ["\x00", "\x01a", "a\x04b", " \x04", "2024"]}


def texts(key, n):
    r = random.Random(key)
    yield from ("", " ", "a", "\n", "  a", "\u0301", "\u0301a", "'", "'s", " 's", "<|im_end|>")
    for s in tokenizer_texts.fuzz(n, seed=key, most=4):
        if r.random() < 0.4:
            s = "".join(r.choice([s, r.choice(PIECES[key])]) for _ in range(r.randint(1, 4)))[:120]
        yield s


def case(key, t, text, missing):
    e = t.encode(text, add_special_tokens=False)
    off = byte_offsets(text, e.offsets)
    c = {"k": key, "t": text, "i": e.ids}
    if not missing.intersection(text.encode()):
        starts = [0] + [a for a, _ in off]
        c["o"] = [v for (a, b), p in zip(off, starts) for v in (a - p, b - a)]
    special = t.encode(text).ids
    if special != e.ids:
        c["s"] = special
    if t.normalizer is not None and t.normalizer.normalize_str(text) != text:
        c["c"] = 1
    d, x = t.decode(e.ids, skip_special_tokens=False), t.decode(e.ids, skip_special_tokens=True)
    if d != text:
        c["d"] = d
    if x != d:
        c["x"] = x
    return c


def random_ids(key, t, n):
    r = random.Random(key + "ids")
    for _ in range(n):
        ids = [r.randrange(t.get_vocab_size() + 3) for _ in range(r.randint(1, 12))]
        d, x = t.decode(ids, skip_special_tokens=False), t.decode(ids, skip_special_tokens=True)
        yield {"k": key, "i": ids, "d": d, **({"x": x} if x != d else {})}


def write_gguf(path, t, pre, bos, eos, add_bos):
    w = GGUFWriter(str(path), "llama")
    vocab = t.get_vocab()
    tokens = sorted(vocab, key=vocab.get)
    added = t.get_added_tokens_decoder()
    kinds = [TokenType.NORMAL if i not in added else TokenType.CONTROL if added[i].special else TokenType.USER_DEFINED for i in range(len(tokens))]
    merges = json.loads(t.to_str())["model"]["merges"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_merges([" ".join(m) for m in merges])
    w.add_bos_token_id(vocab[bos])
    w.add_eos_token_id(vocab[eos])
    w.add_add_bos_token(add_bos)
    w.add_chat_template("{{ messages }}")
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def long_words(t):
    """Words of many symbols, by the hash of their ids (little-endian int32)."""
    for name, text in (("a", "a" * 20000), ("the", "the" * 30000), ("zh", "\u6211\u4eec\u6628\u5929" * 5000), ("mark", "e" + "\u0301\u0327" * 3000)):
        ids = t.encode(text, add_special_tokens=False).ids
        yield {"name": name, "ids": len(ids), "sha256": hashlib.sha256(array.array("i", ids).tobytes()).hexdigest()}


def parts(n):
    """What the vocabulary of a small tokenizer may hide: where the pieces end, and the normal form."""
    kinds = {"qwen": split(QWEN), "llama3": split(LLAMA), "gpt2": byte_level(use_regex=True),
             "digits": pre_tokenizers.Digits(individual_digits=False), "digit": pre_tokenizers.Digits(individual_digits=True)}
    for key, pre in kinds.items():
        for text in tokenizer_texts.fuzz(n, seed="parts" + key, most=4):
            pieces = [o for _, o in pre.pre_tokenize_str(text)]
            yield {"k": key, "t": text, "p": [b - a for a, b in byte_offsets(text, pieces)]}
    nfc = normalizers.NFC()
    for text in tokenizer_texts.fuzz(n, seed="parts nfc", most=6):
        yield {"k": "nfc", "t": text, "n": nfc.normalize_str(text)}


def write_lines(path, cases):
    text = "".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) + "\n" for c in cases)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as f:
        f.write(text.encode())


def main():
    out = pathlib.Path(sys.argv[1])
    made = {"qwen": qwen(), "llama": llama(), "smol": smol(), "odd": odd()}
    lines = []
    for key, t in made.items():
        j = json.loads(t.to_str())
        if key == "llama":
            j["model"]["ignore_merges"] = True
            # a token that no merge makes: only ignore_merges finds it
            j["model"]["merges"] = [m for m in j["model"]["merges"] if "".join(m) != "\u0120the" and "\u0120the" not in m]
        if key == "smol":
            j["model"]["merges"] = [" ".join(m) for m in j["model"]["merges"]]
        (out / key).mkdir(parents=True, exist_ok=True)
        (out / key / "tokenizer.json").write_text(json.dumps(j, ensure_ascii=False, separators=(",", ":")) + "\n")
        t = Tokenizer.from_file(str(out / key / "tokenizer.json"))
        missing = missing_bytes(t)
        assert (len(missing) > 0) == (key == "smol")
        lines += [case(key, t, s, missing) for s in texts(key, 700)] + list(random_ids(key, t, 120))
        if key == "qwen":
            (out / "long_words.json").write_text(json.dumps(list(long_words(t)), indent=1) + "\n")
            write_gguf(out / "qwen.gguf", t, "qwen2", "<|endoftext|>", "<|im_end|>", False)
        if key == "llama":
            write_gguf(out / "llama.gguf", t, "llama-bpe", "<|begin_of_text|>", "<|eot_id|>", True)
        if key == "smol":
            write_gguf(out / "smol.gguf", t, "smollm", "<|im_start|>", "<|im_end|>", False)
    (out / "qwen" / "tokenizer_config.json").write_text(json.dumps({
        "bos_token": None, "eos_token": {"__type": "AddedToken", "content": "<|im_end|>", "special": True}, "pad_token": "<|endoftext|>",
        "chat_template": [{"name": "tool_use", "template": "other"}, {"name": "default", "template": "{{ messages }}"}]}, indent=1) + "\n")
    write_lines(out / "cases.jsonl.gz", lines)
    write_lines(out / "parts.jsonl.gz", parts(600))
    print(len(lines), "cases")


if __name__ == "__main__":
    main()
