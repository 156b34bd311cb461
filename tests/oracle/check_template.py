"""Holds the C renderers against the models' own chat templates on whole data sets.

usage: python check_template.py --tool BUILD/tests/tools/render_stream [--every N] [--data FOLDER] NAME=SOURCE ...

NAME=SOURCE as in gen_template.py. Every prefix of every conversation of FOLDER/*.jsonl (of every N-th conversation) is rendered
with and without generation prompt by both sides, recognising the template from its text; texts must be equal, spans must hold
the message's own part, and on a sample also stand where markers put into the content come out. Likewise the edge cases of
gen_template.py and random conversations.
"""
import argparse
import glob
import json
import os
import random
import subprocess
import sys
import tempfile

from gen_template import CONVERSATIONS, load_variants

PIECES = ["<think>", "</think>", "<think>\n", "\n</think>\n\n", "\n", "\n\n", " ", "", "a", "word", "<tool_response>",
          "</tool_response>", "<|im_end|>", "\u00a0", "\u3000", "\u2028", "\x85", "\x1c", "\x00", "\t", "\r", "\"", "\\",
          "\u4f60\u597d", "\U0001f600", "\u200b", "."]
ROLES = ["user", "assistant", "assistant", "user", "system", "tool", "ipython", "other"]


def prefixes(folder, every):
    for path in sorted(glob.glob(os.path.join(folder, "*.jsonl"))):
        with open(path) as f:
            for number, line in enumerate(f):
                if number % every:
                    continue
                messages = [{"role": m["role"], "content": m["content"]} for m in json.loads(line)["messages"]]
                for n in range(1, len(messages) + 1):
                    yield f"{os.path.basename(path)}:{number + 1}[:{n}]", messages[:n], number % 50 == 0 and n == len(messages)


def edge_cases(count):
    for i, messages in enumerate(CONVERSATIONS):
        for n in range(1, len(messages) + 1):
            yield f"edge {i}[:{n}]", messages[:n], True
    rng = random.Random(7)
    for i in range(count):
        n = rng.randrange(1, 7)
        yield f"random {i}", [{"role": rng.choice(ROLES), "content": "".join(rng.choices(PIECES, k=rng.randrange(0, 7)))}
                              for _ in range(n)], i % 4 == 0


def check_spans(template, messages, text, got, marked):
    data = text.encode()
    for i, span in enumerate(got):
        if span is None:
            return f"message {i}: span differs with the generation prompt"
        begin, end = span
        part = data[begin:end].decode()
        raw = messages[i]["role"] in ("tool", "ipython")  # may be escaped
        if end > begin and not raw and part not in [k[1] for k in template.kept(messages[i])]:
            return f"message {i}: span holds {part!r}"
        if marked:
            want = template.marked_span(messages, i, text)
            if (want != span) if want is not None else (begin != end):
                return f"message {i}: span {span}, want {want}"
    return None


def compare(template, line, messages, marked):
    answer = json.loads(line)
    if "error" in answer:
        return answer["error"]
    for key, prompt in (("with", True), ("without", False)):
        want = template.render(messages, prompt)
        if answer[key] != want:
            return f"{key} generation prompt:\n  ours {answer[key]!r}\n  want {want!r}"
    return check_spans(template, messages, answer["without"], answer["spans"], marked)


def check(tool, template, cases):
    with tempfile.TemporaryDirectory() as folder:
        jinja, inputs = os.path.join(folder, "template.jinja"), os.path.join(folder, "in.jsonl")
        with open(jinja, "w", newline="") as f:
            f.write(template.jinja)
        with open(inputs, "w") as f:
            for _, messages, _ in cases:
                f.write(json.dumps(messages) + "\n")
        command = [tool, "@" + jinja]
        if not template.kwargs.get("enable_thinking", True):
            command.append("--no-think")
        if "date_string" in template.kwargs:
            command += ["--date", template.kwargs["date_string"]]
        bad = count = 0
        with open(inputs) as f, subprocess.Popen(command, stdin=f, stdout=subprocess.PIPE, text=True) as process:
            for (where, messages, marked), line in zip(cases, process.stdout):
                count += 1
                problem = compare(template, line, messages, marked)
                if problem:
                    bad += 1
                    if bad <= 5:
                        print(f"{template.name} {where}: {problem}\n  messages {messages!r}")
        if process.returncode != 0 or count != len(cases):
            bad += 1
            print(f"{template.name}: {count} answers for {len(cases)} inputs, exit code {process.returncode}")
        return bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", required=True)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--random", type=int, default=20000)
    parser.add_argument("--data", default=os.path.join(os.path.dirname(__file__), "../../../shared/data"))
    parser.add_argument("templates", nargs="*")
    args = parser.parse_args()
    cases = list(edge_cases(args.random)) + list(prefixes(args.data, args.every))
    bad = 0
    for key, template in load_variants(args.templates):
        here = check(args.tool, template, cases)
        print(f"{key} {template.kwargs}: {2 * len(cases)} renderings, {here} differences", flush=True)
        bad += here
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
