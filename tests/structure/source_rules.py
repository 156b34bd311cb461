"""source_rules.py RULE ROOT: rules over the source tree that need more than a line at a time; prints every breach as FILE:LINE: what.

  names    a file's name once in src (src/cpu/kernels holds the scalar twins of src/cpu)
  circles  headers that include each other
  structs  at most 25 members a struct
  casts    from one enum to another only beside a _Static_assert that names a value of each
"""
import pathlib
import re
import sys

MAX_MEMBERS = 25

root = pathlib.Path(".")


def files(folders, suffixes):
    return sorted(p for f in folders for p in (root / f).rglob("*") if p.suffix in suffixes and p.is_file())


def breach(path, line, what):
    print(f"{path.relative_to(root)}:{line}: {what}")


def code_of(path):
    """The text with comments, strings and characters blanked, lines kept."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group())
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, path.read_text(), flags=re.S)


def line_at(text, at):
    return text.count("\n", 0, at) + 1


def check_names():
    seen = {}
    for p in files(["src"], {".c", ".h"}):
        if "src/cpu/kernels/" in p.as_posix():
            continue
        if p.name in seen:
            breach(p, 1, f"the name is taken by {seen[p.name].relative_to(root)}")
        seen.setdefault(p.name, p)


def strong_components(graph):
    """Tarjan's, for graphs small enough to recurse over."""
    index, low, stack, on, out = {}, {}, [], set(), []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        on.add(v)
        for w in sorted(graph.get(v, ())):
            if w not in index:
                visit(w)
                low[v] = min(low[v], low[w])
            elif w in on:
                low[v] = min(low[v], index[w])
        if low[v] == index[v]:
            c = []
            while not c or c[-1] != v:
                c.append(stack.pop())
                on.discard(c[-1])
            out.append(sorted(c))

    for v in sorted(graph):
        if v not in index:
            visit(v)
    return sorted(c for c in out if len(c) > 1)


def check_circles():
    graph = {}
    for p in files(["src", "include", "cuda"], {".h", ".cuh"}):
        near = [p.parent, root / "src", root / "include", root / "cuda"]
        own = graph.setdefault(p, set())
        for quoted in re.findall(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', p.read_text(), flags=re.M):
            own.update([(d / quoted) for d in near if (d / quoted).is_file()][:1])
    for c in strong_components(graph):
        breach(c[0], 1, "includes itself by way of " + ", ".join(str(q.relative_to(root)) for q in c[1:]))


def members(body):
    """(members of a struct's body without those of inner structs that have a name of their own, inner bodies)"""
    n = depth = 0
    comma = 1
    begun = False
    for ch in body:
        if ch in "({[":
            depth += 1
        elif ch in ")}]":
            depth -= 1
        elif depth == 0 and ch == ",":
            comma += 1
        elif depth == 0 and ch == ";":
            n += comma if begun else 0
            comma, begun = 1, False
            continue
        begun = begun or not ch.isspace()
    return n


def check_structs():
    for p in files(["src", "include", "cuda", "tests", "bench"], {".c", ".h", ".cu", ".cuh", ".cpp"}):
        text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group()), code_of(p), flags=re.M)
        for m in re.finditer(r"\bstruct\b[^;{}()=]*\{", text):
            depth, at = 1, m.end()
            while depth and at < len(text):
                depth += {"{": 1, "}": -1}.get(text[at], 0)
                at += 1
            n = members(text[m.end():at - 1])
            if n > MAX_MEMBERS:
                breach(p, line_at(text, m.start()), f"a struct has at most {MAX_MEMBERS} members, this one has {n}")


def enums():
    """name of the type -> its values, of every enum of the tree"""
    out = {}
    for p in files(["include", "src", "cuda"], {".c", ".h", ".cuh"}):
        raw, text = p.read_text(), code_of(p)
        for m in re.finditer(r"typedef enum \{(.*?)\}\s*(\w+)\s*;", text, flags=re.S):
            values = set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", m.group(1)))
            # X(ID, ...) of a table: #define LCT_X_ENUM(id, ...) LCT_X_##id
            for prefix in re.findall(r"\b([A-Z][A-Z0-9_]*_)##", m.group(1)):
                for table in re.findall(r"\b([A-Z][A-Z0-9_]+)\(", m.group(1)):
                    for body in re.findall(r"#define " + table + r"\(X\)((?:.*\\\n)*.*)", raw):
                        values.update(prefix + i for i in re.findall(r"X\((\w+)", body))
            out[m.group(2)] = values
    return out


def check_casts():
    types = enums()
    name = "|".join(sorted(types, key=len, reverse=True))
    if not name:
        return
    everywhere = files(["src", "include", "cuda"], {".c", ".h", ".cuh", ".cu"})
    texts = {p: code_of(p) for p in everywhere}
    member, functions = {}, {}
    of_type = re.compile(rf"\b({name})\s+\**(\w+)\s*(\(|\[|[;,=)])")
    for p, text in texts.items():
        for m in of_type.finditer(text):
            if m.group(3) == "(":
                functions.setdefault(m.group(2), set()).add(m.group(1))
            elif p.suffix == ".h":
                member.setdefault(m.group(2), set()).add(m.group(1))
    for p, text in texts.items():
        asserts = re.findall(r"_Static_assert\((.*?)\);", text, flags=re.S)
        for m in re.finditer(rf"\(({name})\)\s*(\(?\w+(?:(?:->|\.)\w+|\[[^\]]*\])*)(\()?", text):
            to, expression, call = m.group(1), m.group(2).lstrip("("), m.group(3)
            last = re.sub(r"\[[^\]]*\]", "", expression)
            bare = re.split(r"->|\.", last)[-1]
            if call:
                found = functions.get(bare, set())
            elif bare != last:  # a member: of a struct of this file where it has one of that name
                here = set(re.findall(rf"^[ \t]+(?:const )?(\w+)\s+(?:\**\w+(?:\[[^\]]*\])?,\s*)*\**{bare}\b[^()\n]*;", text, flags=re.M))
                found = here & set(types) if here - {"return"} else member.get(bare, set())
            elif bare in {v for values in types.values() for v in values}:
                found = {t for t, values in types.items() if bare in values}
            else:  # the declaration that stands nearest before it
                before = list(re.finditer(rf"\b(\w+)\s+\**(?:\w+,\s*\**)*{bare}\b\s*(?:\[|[;,=)])", text[:m.start()]))
                before = [d for d in before if d.group(1) not in ("return", "else", "case", "goto", "sizeof")]
                found = {before[-1].group(1)} & set(types) if before else set()
            for other in sorted(found - {to}):
                if not any(types[to] & set(re.findall(r"\w+", a)) and types[other] & set(re.findall(r"\w+", a)) for a in asserts):
                    breach(p, line_at(text, m.start()), f"{expression} of {other} is cast to {to} without a _Static_assert that names both")


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[2])
    {"names": check_names, "circles": check_circles, "structs": check_structs, "casts": check_casts}[sys.argv[1]]()
