#!/usr/bin/env python3
"""Writes tests/goldens/scenario/conversations*.json: what Python's json module reads from our conversation lines.

    [LCT_SHARED=../shared] python tests/oracle/gen_conversations.py

conversations.jsonl is written here too, since it holds bytes that no editor would keep. Standard library only.
"""
import hashlib
import json
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "goldens" / "scenario"
SHARE_GPT = {"human": "user", "gpt": "assistant", "chatgpt": "assistant"}

LINES = [
    b'\xef\xbb\xbf{"id": "one", "messages": [{"role": "user", "content": "hello"}]}',
    b'',
    b' \t \r',
    b'{"id": 42, "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "a\\u0000b\\n\\"c\\" \\\\ud800"}]}\r',
    b'{"messages": [{"role": "assistant", "content": "no id"}], "extra": [1, {"deep": null}]}',
    b'{"id": "labels", "messages": [{"role": "user", "content": "x", "label": "joy"}, {"role": "assistant", "content": "y", '
    b'"labels": ["love", "joy"]}, {"role": "user", "content": "z", "label": "joy", "labels": ["fear", "joy"]}, '
    b'{"role": "user", "content": "w", "label": null, "labels": []}], "meta": {"source": "ours", "n": [1, 2.5, true, null]}}',
    b'{"id": "gpt", "conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "h"}, {"from": "gpt", '
    b'"value": "g", "label": "calm"}, {"from": "user", "value": "u"}, {"from": "assistant", "value": "a"}, '
    b'{"from": "chatgpt", "value": "c"}]}',
    b'{"id": "bytes", "messages": [{"role": "user", "content": "a\xffb \xe2\x82 c \xed\xa0\x80 \xf0\x9f\x98\x80"}]}',
    b'{"id": "surrogates", "messages": [{"role": "user", "content": "\\ud83d\\ude00 \\ud800 \\udc00\\ud800 \\uD83D\\uDE00 \\ud800\\u0041"}]}',
    b'{"id": "\xe6\x97\xa5\xe6\x9c\xac", "messages": [{"content": "\xd8\xa7\xd9\x84", "role": "user"}], "meta": "text"}',
    b'{"id": null, "messages": [{"role": "user", "content": "last, without a newline"}]}',
]


def repair(text):
    """Lone surrogates, which Python's json keeps, as U+FFFD each; and how many there were."""
    fixed = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return fixed, sum(0xD800 <= ord(c) < 0xE000 for c in text)


def read_line(line, number):
    decoded = line.decode("utf-8", errors="replace")
    n_replaced = decoded.count("\ufffd") - line.decode("utf-8", errors="ignore").count("\ufffd")
    data = json.loads(decoded.lstrip("\ufeff"))
    messages = []
    for m in data.get("messages") or data["conversations"]:
        role = m.get("role") or m["from"]
        content, n = repair(m["content"] if "content" in m else m["value"])
        n_replaced += n
        labels = m.get("labels") or ([m["label"]] if m.get("label") else [])
        messages.append({"role": SHARE_GPT.get(role, role), "content": content, "labels": labels,
                         "label": m.get("label") or (labels[0] if labels else None)})
    name = data.get("id")
    return {"id": f"line-{number}" if name is None else str(name), "line": number, "messages": messages,
            "meta": data.get("meta"), "n_replaced": n_replaced}


def facts(path):
    """A hash over everything that is read from a file of the shared data."""
    digest, n_messages, n = hashlib.sha256(), 0, 0
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        c = read_line(line, number)
        n, n_messages = n + 1, n_messages + len(c["messages"])
        digest.update((c["id"] + "\n").encode())
        for m in c["messages"]:
            digest.update("\n".join([m["role"], m["content"], m["label"] or "", " ".join(m["labels"]), ""]).encode())
    return {"file": path.name, "n_conversations": n, "n_messages": n_messages, "sha256": digest.hexdigest()}


def main():
    (GOLDENS / "conversations.jsonl").write_bytes(b"\n".join(LINES))
    out = [read_line(line, i) for i, line in enumerate(LINES, 1) if line.strip()]
    (GOLDENS / "conversations.json").write_text(json.dumps(out, indent=1) + "\n")
    shared = pathlib.Path(os.environ.get("LCT_SHARED", ROOT.parent / "shared")) / "data"
    if not shared.is_dir():
        print("no shared data: shared_conversations.json left as it is")
        return
    out = [facts(p) for p in sorted(shared.glob("*.jsonl"))]
    (GOLDENS / "shared_conversations.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
