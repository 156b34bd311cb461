"""Goldens of tests/unit/test_template.c: conversations rendered by the models' own chat templates through transformers.

usage: python gen_template.py NAME=SOURCE ... > tests/goldens/template/cases.json

NAME is one of VARIANTS' templates, SOURCE a tokenizer_config.json (or a folder with one), a .gguf, or a .jinja file; "chatml"
needs no source. The templates themselves are not kept, only what they render.
"""
import hashlib
import json
import os
import sys

from transformers.utils import chat_template_utils

CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
BOS = "<|begin_of_text|>"
OPEN, CLOSE = "\ue000", "\ue001"

# our name, the template's key on the command line, keyword arguments of apply_chat_template
VARIANTS = [
    ("chatml", "chatml", {}),
    ("qwen2", "qwen2", {}),
    ("qwen2.5", "qwen2.5", {}),
    ("qwen3", "qwen3", {}),
    ("qwen3", "qwen3", {"enable_thinking": False}),
    ("qwen3-instruct", "qwen3-instruct", {}),
    ("qwen3-thinking", "qwen3-thinking", {}),
    ("smollm2", "smollm2", {}),
    ("llama3", "llama3", {}),
    ("llama3.1", "llama3.1", {}),
    ("llama3.1", "llama3.2", {"date_string": "01 Feb 2025"}),
]


def read_template(source):
    if source.endswith(".gguf"):
        import gguf
        return gguf.GGUFReader(source).get_field("tokenizer.chat_template").contents()
    if source.endswith(".jinja"):
        with open(source, newline="") as f:
            return f.read()
    if os.path.isdir(source):
        source = os.path.join(source, "tokenizer_config.json")
    with open(source) as f:
        return json.load(f)["chat_template"]


class Template:
    def __init__(self, jinja, name, kwargs):
        self.jinja, self.name, self.kwargs = jinja, name, kwargs
        self.compiled = chat_template_utils._compile_jinja_template(jinja)

    def render(self, messages, add_generation_prompt):
        return self.compiled.render(messages=messages, tools=None, documents=None, bos_token=BOS,
                                    add_generation_prompt=add_generation_prompt, **self.kwargs)

    def kept(self, message):
        """Candidates for the part of a content that is the message's own: (prefix, part, suffix)."""
        content, role = message["content"], message["role"]
        thinks = self.name in ("qwen3", "qwen3-thinking") and role == "assistant"
        if thinks and "</think>" in content:
            answer = content.split("</think>")[-1].lstrip("\n")
            return [(content[:len(content) - len(answer)], answer, "")]
        stripped, left = content.strip(), content.lstrip("\n")
        lead = len(content) - len(content.lstrip())
        return [("", content, ""), (content[:len(content) - len(left)], left, ""),
                (content[:lead], stripped, content[lead + len(stripped):])]

    def marked_span(self, messages, i, text):
        """Where message i's part stands: markers are put around it and looked for in what the template makes of that."""
        for prefix, part, suffix in self.kept(messages[i]):
            # a tool's answer must keep its tags where the template looks for them
            head = "<tool_response>" if part.startswith("<tool_response>") else ""
            tail = "</tool_response>" if head and part.endswith("</tool_response>") and len(part) > len(head) + 15 else ""
            inner = part[len(head):len(part) - len(tail)]
            changed = list(messages)
            changed[i] = dict(messages[i], content=prefix + head + OPEN + inner + CLOSE + tail + suffix)
            marked = self.render(changed, False)
            if marked.replace(OPEN, "").replace(CLOSE, "") != text or marked.count(OPEN) != 1 or marked.count(CLOSE) != 1:
                continue
            begin, end = marked.index(OPEN), marked.index(CLOSE) - 1
            before, after = text[:begin - len(head)], text[:end + len(tail)]
            return [len(before.encode()), len(after.encode())]
        return None  # nothing of it is rendered


def system(text):
    return {"role": "system", "content": text}


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def tool(text):
    return {"role": "tool", "content": text}


CONVERSATIONS = [
    [user("The lighthouse went dark last night.")],
    [system("Answer in one short sentence."), user("Why is the sea loud?")],
    [system("Keep calm."), user("I lost my keys."), assistant("Where did you see them last?"), user("In the garden.")],
    [user("Hello"), assistant("Hi."), user("And now?"), assistant("Now we wait.")],
    [assistant("I speak first."), user("So you do.")],
    [assistant("Only me.")],
    [system("Only a rule.")],
    [user("One"), system("A rule in the middle."), user("Two")],
    [system("First rule."), system("Second rule."), user("Go.")],
    [user("")],
    [system(""), user("x"), assistant("")],
    [user("  spaces around  "), assistant("\n\nlines around\n\n"), user("\tTab\r\n")],
    [user("   "), assistant("\n\n"), user("\n")],
    [system("  \n "), user(" \u3000wide and\u00a0hard spaces\u2003\u2028"), assistant("\u200bzero width stays\u200b"),
     user("\x1c\x85edge\x1f")],
    [user("\u4f60\u597d\uff0c\u4eca\u5929\u600e\u4e48\u6837\uff1f"), assistant("\u5f88\u597d \U0001f60a e\u0301"),
     user("\u0645\u0631\u062d\u0628\u0627")],
    [user("<|im_end|> is only text here"), assistant("<|eot_id|> too"), user("{{ messages }} {% if %}")],
    [user("Q"), assistant("<think>\nweigh it\n</think>\n\nYes.")],
    [user("Q"), assistant("<think>\nweigh it\n</think>\n\nYes."), user("Sure?")],
    [user("Q"), assistant("<think>\n\n</think>\n\nNo thoughts.")],
    [user("Q"), assistant("<think></think>Nothing between.")],
    [user("Q"), assistant("half a thought\n</think>\nrest"), user("R"), assistant("no end <think> here")],
    [user("Q"), assistant("half a thought</think>rest")],
    [user("Q"), assistant("<think>a</think>one</think>\n\n\ntwo"), user("R")],
    [user("Q"), assistant("<think>a</think>one</think>\n\n\ntwo")],
    [user("Q"), assistant("<think>a<think>\n\nb\n\n</think>\nc\n")],
    [user("Q"), assistant("before <think>x</think> after")],
    [user("Q"), assistant("<think>all thought</think>"), user("R"), assistant("<think>\n\n\nall again\n\n\n</think>\n\n")],
    [user("Q"), assistant("\n\nleading lines"), user("R"), assistant("\n\nleading lines")],
    [user("Q"), assistant("first"), assistant("<think>t</think>second"), assistant("third")],
    [user("Q"), assistant("<think>t</think>first"), assistant("second")],
    [user("</think> from a user"), system("<think>s</think>"), assistant("fine")],
    [user("Find it."), assistant("<think>look</think>Looking."), user("<tool_response>\n42\n</tool_response>"),
     assistant("<think>found</think>It is 42.")],
    [user("<tool_response>only a tool's answer</tool_response>"), assistant("<think>t</think>ok")],
    [user("<tool_response>not closed"), assistant("<think>t</think>ok")],
    [user("A"), user("closed only</tool_response>"), assistant("<think>t</think>ok")],
    [user("A"), tool("first result"), tool("second \"result\"\\\n\t\x01\x1f\x7f"), assistant("Both seen.")],
    [tool("a result before anything"), user("What was that?")],
    [user("A"), {"role": "ipython", "content": "print(1)\u2028"}, {"role": "narrator", "content": "Meanwhile."}, assistant("B")],
    [user("A"), {"role": "narrator", "content": "The end."}],
]


def result(template, messages):
    without = template.render(messages, False)
    both = template.render(messages, True)
    assert both.startswith(without)
    spans = [template.marked_span(messages, i, without) for i in range(len(messages))]
    return {"text": without, "prompt": both[len(without):], "spans": spans}


def load_variants(arguments):
    sources = dict(a.split("=", 1) for a in arguments)
    jinjas = {key: read_template(source) for key, source in sources.items()}
    jinjas["chatml"] = CHATML
    return [(key, Template(jinjas[key], name, kwargs)) for name, key, kwargs in VARIANTS if key in jinjas]


def main():
    variants = load_variants(sys.argv[1:])
    missing = {key for _, key, _ in VARIANTS} - {key for key, _ in variants}
    if missing:
        sys.exit("no source for: " + ", ".join(sorted(missing)))
    print('{"conversations": [')
    print(",\n".join(json.dumps([[m["role"], m["content"]] for m in c]) for c in CONVERSATIONS))
    print('], "renderings": [')
    for n, (_, t) in enumerate(variants):
        head = {"template": t.name, "think": t.kwargs.get("enable_thinking", True), "date": t.kwargs.get("date_string"),
                "jinja_sha256": hashlib.sha256(t.jinja.encode()).hexdigest()}
        print(json.dumps(head)[:-1] + ', "results": [')
        print(",\n".join(json.dumps(result(t, c)) for c in CONVERSATIONS))
        print("]}" + ("," if n + 1 < len(variants) else ""))
    print("]}")


if __name__ == "__main__":
    main()
