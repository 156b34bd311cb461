#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: small, valid (or nearly), one feature each. Needs Python's standard library alone."""
import io
import json
import pathlib
import shutil
import struct
import zipfile

OUT = pathlib.Path(__file__).resolve().parent / "corpus"


def write(target, seeds):
    folder = OUT / target
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)


def npy(descr="<f4", shape="(2, 3)", data=bytes(24), version=1, order="False"):
    head = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + len(head).to_bytes(2 if version == 1 else 4, "little") + head + data


def zip_archive(members, method=zipfile.ZIP_STORED, limit=None):
    keep, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, limit if limit is not None else zipfile.ZIP64_LIMIT
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            with z.open(info, "w", force_zip64=limit is not None) as f:
                f.write(data)
    zipfile.ZIP64_LIMIT = keep
    return out.getvalue()


def npz_seeds():
    two = {"layer_00/q.npy": npy(), "ids.npy": npy("<i8", "(2,)", bytes(16))}
    return {
        "stored": zip_archive(two),
        "deflated": zip_archive(two, zipfile.ZIP_DEFLATED),
        "zip64": zip_archive(two, limit=0),
        "half": zip_archive({"h.npy": npy("<f2", "(1, 2, 2)", b"\x00\x3c\xff\x7b\x00\xfc\x01\x7c"), "readme": b"no array"}),
        "odd": zip_archive({"a.npy": npy(shape="(6L,)", version=2), "s.npy": npy(shape="()", data=bytes(4))}),
        "fortran": zip_archive({"a.npy": npy(order="True")}),
        "empty": zip_archive({}),
    }


def safetensors(header, data=b"", pad=0):
    text = (json.dumps(header) if not isinstance(header, str) else header).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_seeds():
    two = {"__metadata__": {"format": "pt"}, "model.norm.weight": tensor("BF16", [4], 0, 8), "w": tensor("F32", [1, 2], 8, 16)}
    return {
        "two": safetensors(two, bytes(16), 3),
        "half": safetensors({"h": tensor("F16", [2, 2], 0, 8)}, bytes(8)),
        "scalar": safetensors({"s": tensor("F32", [], 0, 4)}, bytes(4)),
        "empty_shape": safetensors({"e": tensor("F32", [0, 3], 0, 0)}),
        "nothing": safetensors({}),
        "overlap": safetensors({"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [2], 4, 12)}, bytes(12)),
        "huge_header": struct.pack("<Q", 2**63) + b"{}",
        "huge_shape": safetensors({"a": tensor("F32", [2**40, 2**40], 0, 8)}, bytes(8)),
        "nested": safetensors("[" * 300 + "]" * 300),
        "escapes": safetensors('{"\\u0061\\ud83d\\ude00":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    }


def fingerprint_seeds():
    def file(labels, bank, whiten, layers=2, hidden=3, change=lambda meta, tensors: None):
        meta = {"format": "llmct-fingerprints", "version": "1", "model_hash": "m", "template_hash": "t", "model_id": "i",
                "template_name": "n", "precision": "exact", "layers": str(layers), "hidden": str(hidden), "labels": json.dumps(labels),
                "poolings": '["last"]', "sources": '["hidden_out"]', "prompts": json.dumps({label: 2 for label in labels}),
                "split_half": json.dumps({label: {"last": {"hidden_out": [0.5] + [None] * (layers - 1)}} for label in labels})}
        shapes = {f"{label}/last/hidden_out": [layers, hidden] for label in labels}
        if bank:
            meta["neutral"] = json.dumps({"prompts": 9, "pcs": 1, "whiten": whiten})
            parts = {"mean": [layers, hidden], "sigma": [layers, hidden], "pcs": [layers, 1, hidden], "pc_var": [layers, 1],
                     "z": [layers, len(labels), 24, 2]}
            parts |= {"shrinkage": [layers], "whiten": [layers, hidden, hidden]} if whiten else {}
            shapes |= {f"neutral/last/hidden_out/{name}": shape for name, shape in parts.items()}
        change(meta, shapes)
        header, at = {"__metadata__": meta}, 0
        for name, shape in shapes.items():
            size = 4
            for n in shape:
                size *= n
            header[name] = tensor("F32", shape, at, at + size)
            at += size
        return safetensors(header, bytes([0, 0, 128, 63]) * (at // 4))

    def many(meta, shapes):
        meta["labels"] = json.dumps(["a"] * 5000)

    return {
        "plain": file(["joy", "fear"], False, False),
        "bank": file(["joy"], True, False),
        "whiten": file(["joy", "a"], True, True),
        "many": file(["a"], False, False, change=many),
        "layers": file(["a"], False, False, change=lambda meta, shapes: meta.update(layers="99999")),
        "pcs": file(["a"], True, False, change=lambda meta, shapes: meta.update(neutral='{"prompts":9,"pcs":3,"whiten":false}')),
    }


GGUF_FORMAT = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"),
               "f32": (6, "f"), "bool": (7, "?"), "str": (8, ""), "arr": (9, ""), "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}


def gguf_string(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def gguf_value(kind, v):
    if kind == "str":
        return gguf_string(v)
    if kind == "arr":
        inner, values = v
        return struct.pack("<IQ", GGUF_FORMAT[inner][0], len(values)) + b"".join(gguf_value(inner, x) for x in values)
    return struct.pack("<" + GGUF_FORMAT[kind][1], v)


def gguf(meta, tensors=(), version=3, data=b""):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(meta))
    for key, kind, v in meta:
        out += gguf_string(key) + struct.pack("<I", GGUF_FORMAT[kind][0]) + gguf_value(kind, v)
    for name, dims, kind, offset in tensors:
        out += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
    return out + bytes(-len(out) % 32) + data


def byte_letters():
    """The letters byte-level BPE writes the 256 bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) if b in plain else chr(256 + i) for b, i in ((b, b - sum(p < b for p in plain)) for b in range(256))]


def gguf_tokenizer():
    tokens = byte_letters() + ["He", "ll", "<|e|>"]
    return [("tokenizer.ggml.model", "str", "gpt2"), ("tokenizer.ggml.pre", "str", "qwen2"),
            ("tokenizer.ggml.tokens", "arr", ("str", tokens)), ("tokenizer.ggml.merges", "arr", ("str", ["H e", "l l"])),
            ("tokenizer.ggml.token_type", "arr", ("i32", [1] * 258 + [3])), ("tokenizer.ggml.eos_token_id", "u32", 258)]


def gguf_seeds():
    every = [(f"a.{k}", k, 1) for k in GGUF_FORMAT if k not in ("str", "arr", "bool", "f32", "f64")]
    every += [("a", "arr", ("f64", [1.5])), ("b", "bool", True), ("c", "f32", 0.5), ("general.architecture", "str", "llama")]
    tokens = [("tokenizer.ggml.model", "str", "gpt2"), ("tokenizer.ggml.tokens", "arr", ("str", ["a", "b", "ab", "<|e|>"])),
              ("tokenizer.ggml.merges", "arr", ("str", ["a b"])), ("tokenizer.ggml.token_type", "arr", ("i32", [1, 1, 1, 3])),
              ("tokenizer.ggml.add_bos_token", "bool", False), ("tokenizer.ggml.pre", "str", "qwen2")]
    arch = [("general.architecture", "str", "qwen2"), ("general.alignment", "u32", 32)]
    tensors = [("output_norm.weight", (8,), 0, 0), ("token_embd.weight", (32, 2), 8, 32)]
    return {
        "every_type": gguf(every),
        "tokens": gguf(tokens),
        "tokenizer": gguf(gguf_tokenizer()),
        "tensors": gguf(arch, tensors, 3, bytes(32 + 96)),
        "version2": gguf(arch, tensors[:1], 2, bytes(32)),
        "nested": gguf([("a", "arr", ("arr", [("u8", [1, 2]), ("str", ["x"])]))]),
        "huge_count": b"GGUF" + struct.pack("<IQQ", 3, 2**63, 2**62),
        "huge_array": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + gguf_string("a") + struct.pack("<IIQ", 9, 8, 2**61) + bytes(40),
        "no_tensors": gguf([]),
    }


SCENARIO = """name: all_keys
model: {id: m, gguf_file: null, dtype: bfloat16, device: cpu, trust_remote_code: false}
prompt:
  - messages:
      - {role: system, content: "you"}
      - role: user
        content: |
          two
          lines
    run_at_each_message: true
  - messages: [{role: user, content: 'it''s'}]
generation: {max_new_tokens: 4, do_sample: true, temperature: 0.7, top_k: 5, top_p: 0.9, seed: 1}
capture: {hidden_states: yes, attention_weights: no, qkv: on, mlp: off, logits: true, top_k_probs: 3, layers: [0, 1],
  store_dtype: float32}
output: {dir: ./runs, format: json+npz}
reference_states:
  - {label: joy, messages: [{role: user, content: "happy"}]}
"""


def scenario_seeds():
    small = "name: n\nmodel: {id: m}\nprompt: {messages: [{role: user, content: hi}]}\n"
    return {
        "all": SCENARIO,
        "small": small,
        "layers_all": small + "capture: {layers: all}\n",
        "anchors": "name: &a n\nmodel: {id: *a}\nprompt:\n  messages: &m [{role: user, content: hi}]\n"
                   "reference_states: [{label: x, messages: *m}]\n",
        "merge": "x: &x {id: m}\nname: n\nmodel: {<<: *x}\nprompt: {messages: [{role: user, content: hi}]}\n",
        "laughs": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nname: *c\n",
        "cycle": "name: &a [*a]\n",
        "folded": "name: >-\n  a\n  b\n\n  c\nmodel: {id: m}\n",
        "escapes": small.replace("hi", '"\\x41\\u00e9\\U0001F600\\n\\\n  x"'),
        "tags": "name: !!str 1\nmodel: !x {id: !!int '3'}\n",
        "numbers": small + "generation: {seed: 0x1F, temperature: 1e-1, max_new_tokens: 0o17, top_p: .inf}\n",
        "empty": "",
        "documents": "---\nname: a\n---\nname: b\n...\n",
        "invalid_utf8": b"name: \xff\xfe\n",
        "deep": "[" * 200,
    }


def conversation_seeds():
    return {
        "plain": '{"id": "a", "messages": [{"role": "user", "content": "hi", "label": "joy"},'
                 ' {"role": "assistant", "content": "yo"}]}',
        "labels": '{"id": 7, "messages": [{"role": "system", "content": "", "labels": ["a", "b"]}],'
                  ' "meta": {"k": [1, 2.5, null, true]}}',
        "sharegpt": '{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}',
        "surrogates": '{"messages": [{"role": "user", "content": "\\ud83d\\ude00 \\ud83d \\udc00 \\u0000"}]}',
        "invalid_utf8": b'{"messages": [{"role": "user", "content": "\xff\xc3\xa9"}]}',
        "nested": '{"meta": ' + "[" * 200 + "]" * 200 + "}",
        "roles": '{"messages": [{"role": "tool", "content": "x"}]}',
        "numbers": '{"id": 1e400, "meta": -0.0e-5}',
    }


def config(**more):
    base = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": True,
            "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}
    return json.dumps({**base, **more})


def config_seeds():
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 128}
    llama = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False}
    return {
        "qwen2": config(),
        "qwen3": config(architectures=["Qwen3ForCausalLM"], model_type="qwen3", head_dim=32),
        "llama": config(**llama, rope_scaling=None),
        "llama3": config(**llama, rope_scaling=scaling, eos_token_id=[2, 3, 4]),
        "rope_parameters": config(rope_theta=None, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}),
        "generation": config() + '\0{"eos_token_id": [5, 6], "bos_token_id": 1}',
        "sliding": config(use_sliding_window=True, sliding_window=64),
        "absurd": config(num_hidden_layers=2**40, hidden_size=-1, rms_norm_eps="x"),
    }


def template_seeds():
    chatml = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n'"
              " + message['content'] + '<|im_end|>' + '\n'}}"
              "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
    return {
        "chatml": chatml + "\0hello\0yes\0no",
        "thinking": "{{<|im_start|> enable_thinking <think>}}\0q\0<think>\nabc\n</think>\n\nanswer\0more\0</think></think>x",
        "llama3": "<|start_header_id|> <|eot_id|>\0 spaced \0\0\n\nx\n",
        "tool": "\0<tool_response>x</tool_response>\0<think>open\0\xff",
        "empty": "",
    }


QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def tokenizer(pre, merges=(("H", "e"), ("l", "l")), normalizer=None, post=None, config=None, text=None, **model):
    vocab = {c: i for i, c in enumerate(byte_letters())}
    for a, b in merges:
        vocab.setdefault(a + b, len(vocab))
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": not pre}
    special = {"id": len(vocab), "content": "<|e|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
               "special": True}
    whole = {"version": "1.0", "added_tokens": [special], "normalizer": normalizer,
             "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*pre, level]} if pre else level,
             "post_processor": post, "decoder": level,
             "model": {"type": "BPE", "vocab": vocab, "merges": [list(m) for m in merges], **model}}
    parts = [json.dumps(whole, ensure_ascii=False), config, text]
    while parts[-1] is None:
        parts.pop()
    return "\0".join(p or "" for p in parts)


def tokenizer_seeds():
    def split(regex, behaviour="Isolated"):
        return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behaviour, "invert": False}

    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|e|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
                "special_tokens": {"<|e|>": {"id": "<|e|>", "ids": [258], "tokens": ["<|e|>"]}}}
    config = json.dumps({"eos_token": "<|e|>", "pad_token": {"content": "<|e|>"}, "chat_template": "<|im_start|>"})
    return {
        "gpt2": tokenizer([]),
        "qwen": tokenizer([split(QWEN)], normalizer={"type": "NFC"}, config=config, text="Hello <|e|> world"),
        "digits": tokenizer([{"type": "Digits", "individual_digits": True}], text="a 123 b"),
        "llama": tokenizer([split(QWEN.replace("{N}|", "{N}{1,3}|"))], post=template, ignore_merges=True),
        "other_regex": tokenizer([split("[a-z]+(?=x)|(a+)+$")], text="aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"),
        "bad_merge": tokenizer([]).replace('["H", "e"]', '["H", "zz"]'),
        "no_model": '{"added_tokens": []}',
        "nested": "[" * 400,
    }


CRC32C = [0] * 256
for i in range(256):
    r = i
    for _ in range(8):
        r = r >> 1 ^ (0x82F63B78 if r & 1 else 0)
    CRC32C[i] = r


def crc32c(data):
    r = 0xFFFFFFFF
    for b in data:
        r = CRC32C[(r ^ b) & 255] ^ r >> 8
    return struct.pack("<I", r ^ 0xFFFFFFFF)


def zstd_raw(data):
    """A zstd frame of one raw block: one segment, its size in one byte or two."""
    size = b"\x20" + bytes([len(data)]) if len(data) < 256 else b"\x60" + struct.pack("<H", len(data) - 256)
    return b"\x28\xb5\x2f\xfd" + size + (len(data) << 3 | 1).to_bytes(3, "little") + data


def blosc(data, kind):
    head = bytes([2, 1, 0x83 if kind == "stored" else 0x81, 2])
    if kind == "stored":
        return head + struct.pack("<III", len(data), len(data), 16 + len(data)) + data
    planes = b"".join(struct.pack("<I", len(p)) + p for p in (data[0::2], zstd_raw(data[1::2])))
    return head + struct.pack("<III", len(data), len(data), 20 + len(planes)) + struct.pack("<I", 20) + planes


def zarr(dtype="float32", shape=(4, 4), shard=(4, 4), chunk=(2, 4), chunks=(), index=None, **more):
    """Length, zarr.json, shard: chunks as their codec made them, None where one is missing."""
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    crc = {"name": "crc32c"}
    pack = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
    if dtype in ("float16", "uint16"):
        pack = {"name": "blosc", "configuration": {"typesize": 2, "cname": "zstd", "clevel": 1, "shuffle": "shuffle", "blocksize": 0}}
    inner = {"chunk_shape": chunk, "codecs": [little if dtype != "int8" else {"name": "bytes"}, pack, crc],
             "index_codecs": [little, crc], "index_location": "end"}
    meta = {"zarr_format": 3, "node_type": "array", "shape": shape, "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "NaN" if dtype.startswith("float") else 0, "codecs": [{"name": "sharding_indexed", "configuration": inner}],
            "attributes": {}, "storage_transformers": [], **more}
    body, places = b"", b""
    for c in chunks:
        places += struct.pack("<QQ", *((2**64 - 1, 2**64 - 1) if c is None else (len(body), len(c) + 4)))
        body += b"" if c is None else c + crc32c(c)
    places = index if index is not None else places
    text = json.dumps(meta).encode()
    return struct.pack("<I", len(text)) + text + body + places + crc32c(places)


def zarr_seeds():
    half = bytes(range(256)) * 2
    return {
        "f32": zarr(chunks=[zstd_raw(bytes(32)), zstd_raw(bytes(range(32)))], dimension_names=["row", None]),
        "missing": zarr(chunks=[None, zstd_raw(bytes(range(32)))], shape=(9, 4), attributes={"llmct": {"layers": [0]}}),
        "blosc": zarr("float16", (2, 130), (2, 256), (1, 256), [blosc(half, "split"), blosc(half, "stored")]),
        "u16": zarr("uint16", (3,), (4,), (2,), [blosc(b"abcd", "stored"), blosc(b"efgh", "stored")]),
        "i8": zarr("int8", (1, 2, 3), (1, 2, 4), (1, 1, 4), [zstd_raw(b"abcd"), zstd_raw(b"efgh")]),
        "empty": zarr("int64", (0, 4)),
        "overlap": zarr(chunks=[zstd_raw(bytes(32))], index=struct.pack("<QQQQ", 0, 45, 0, 45)),
        "outside": zarr(chunks=[zstd_raw(bytes(32))], index=struct.pack("<QQQQ", 2**63, 2**63, 5, 2**64 - 1)),
        "bomb": zarr("float64", (8,), (8,), (4,), [b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**40) + b"\x01\x00\x00", None]),
        "absurd": zarr("float32", (2**62, 2**20), (2**40, 2**20), (1, 1)),
        "truncated": zarr(chunks=[zstd_raw(bytes(32)), None])[:-20],
        "not_zarr": struct.pack("<I", 2) + b"{}",
    }


def archive(state="interrupted", sources=("hidden_out",), arrays=None, shard=b"", journal=None, lines=None, **more):
    """sweep.json, journal, messages.jsonl, shard 0 of pooled/hidden_out."""
    arrays = arrays if arrays is not None else [archive_array()]
    root = {"format": "llmct-sweep", "version": 1, "state": state, "model": {"id": "m", "n_layers": 2, "hidden": 2, "hash": "ab"},
            "template": {"name": "t", "hash": "cd"}, "keep": "pooled", "store_dtype": "f16", "derive": None, "positions": ["last"],
            "sources": sources, "layers": [0, 1], "rows": 4, "tokens_stored": 0, "rejected": 0, "arrays": arrays, **more}
    lines = lines if lines is not None else [{"row": i, "id": f"c{i // 2}", "message": i % 2, "role": "user", "label": "joy", "n_tokens": 9,
                                              "content": [2, 5], "tokens": [0, 9]} for i in range(5)]
    journal = journal if journal is not None else [{"array": a["name"], "shard": 0, "bytes": len(shard)} for a in arrays]
    journal = [{"format": "llmct-journal", "version": 1, "config": {}}, *journal]
    texts = [json.dumps(root), *("".join(json.dumps(x) + "\n" for x in part) for part in (journal, lines))]
    return "\0".join(texts).encode() + b"\0" + shard


def archive_array(name="pooled/hidden_out", dtype="float16", width=2, planes=(0, 1), axis="layers", **more):
    rows = 4
    shape = [rows, 1, len(planes), width] if name.startswith("pooled/") else [rows, len(planes), width]
    return {"name": name, "dtype": dtype, "codec": "blosc" if dtype in ("float16", "uint16") else "zstd", "shape": shape, "shard": shape,
            "chunk": [2, *[1] * (len(shape) - 2), width], "dims": ["row"] * len(shape),
            "attributes": {"llmct": {"positions": ["last"], axis: planes, **more}}}


def archive_seeds():
    def shard(kind="stored"):
        chunks = [blosc(struct.pack("<4H", *range(15360 + i, 15364 + i)), kind) for i in range(4)]
        text = zarr("float16", (4, 1, 2, 2), (4, 1, 2, 2), (2, 1, 1, 2), chunks)
        return text[4 + struct.unpack("<I", text[:4])[0]:]

    derived = [archive_array(f"{folder}/{source}", "float32", 2, planes) for folder in ("pooled", "tokens")
               for source, planes in (("embeddings", [-1]), ("attn_out", [0, 1]), ("mlp_down_out", [0, 1]))]
    scores = {"name": "scores", "dtype": "float32", "codec": "zstd", "shape": [4, 1, 1, 2, 1, 1], "shard": [4, 1, 1, 2, 1, 1],
              "chunk": [2, 1, 1, 2, 1, 1], "dims": [], "attributes": {"llmct": {"positions": ["last"], "sources": ["hidden_out"],
              "layers": [0, 1], "references": ["joy"], "metrics": ["cosine"]}}}
    return {
        "half": archive(shard=shard()),
        "done": archive("done", shard=shard()),
        "residual": archive(sources=["hidden_in", "hidden_out"], arrays=[archive_array("pooled/residual", planes=[0, 1, 2], axis="planes")]),
        "derived": archive(sources=["hidden_in", "hidden_out"], arrays=derived, derive="residual"),
        "int8": archive(arrays=[archive_array(dtype="int8", group=1), archive_array("pooled/hidden_out_scale", "float32")]),
        "bf16": archive(arrays=[archive_array(dtype="uint16")], shard=shard()),
        "scores": archive(arrays=[scores]),
        "finishing": archive(journal=[{"array": "pooled/hidden_out", "shard": 0, "bytes": 1}, {"array": "moments", "shard": 0, "bytes": 8},
                                      {"finishing": 4}, {"array": "x", "shard": 1, "bytes": 1}]),
        "absurd": archive(arrays=[{**archive_array(), "shape": [2**62, 1, 2, 2], "shard": [2**47, 1, 2, 2]}]),
        "torn": archive()[:-40],
        "names": archive(arrays=[archive_array("../../etc/passwd")]),
        "lines": archive(lines=[{"row": 0, "id": "", "message": 2**62, "tokens": [2**63 - 1, -5]}]),
    }


def encode_seeds():
    return {
        "words": "\0Hello, we're 12345 <|im_start|>user\n\n",
        "marks": "\0e\u0301 \u1100\u1161\u11a8 \u0f71\u0f74 \ufb01",
        "spaces": "\1   \n \t \u00a0\u2003\u3000  x",
        "scripts": "\2\u4f60\u597d \u0645\u0631\u062d\u0628\u0627 \U0001F469\u200d\U0001F680",
        "special": "\3[S] [SS] cat cats caf\u00e9 cafe\u0301 \u212b x",
        "invalid": b"\1\xff\xf0\x9f\x98 \xed\xa0\x80",
    }


def prompt_seeds():
    return {
        "plain": b"\0\2\2Be kind.\0\0Hello\0\1Hi, how are you?\0\0Fine",
        "thinking": b"\0\3\0Why?\0\1<think>\nbecause\n</think>\n\nSo.\0\0And?\0\1</think>Then",
        "tools": b"\1\2\0Call\0\1ok\0\3one\0\3two\0\1done\0\0<tool_response>x</tool_response>",
        "marks": "\0\0\0<|im_end|>\n<|im_start|>\0\1<|im_\0\0start|>\0\1e\u0301 <|im_end|>\u0301",
        "odd": "\3\0\0a [S]  \0\1[S [SS] cat\0\0cats \u2014  \n caf\u00e9\0\1dog\u212b x",
        "llama": b"\2\x08\2 dated \0\0\n hi \0\4{\"a\": 1}\n\0\1<|eot_id|><|start_header_id|>",
        "nothing": b"\0\2\5unheard\0\5of\0\0",
    }


def zstd_frame(data):
    """A frame of one stored block, as RFC 8878 has it."""
    return b"\x28\xb5\x2f\xfd\x60" + (len(data) - 256).to_bytes(2, "little") + (len(data) << 3 | 1).to_bytes(3, "little") + data


def input_seeds():
    one = b'{"id": "a", "messages": [{"role": "user", "content": "x"}]}\n'
    lines = one + b"\n{\n" + one + b'{"id": "e", "conversations": [{"from": "human", "value": " "}]}\n' + one.replace(b'"a"', b"7") + b" " * 64
    return {
        "plain": lines,
        "bom": b"\xef\xbb\xbf" + one,
        "zstd": zstd_frame(lines),
        "frames": zstd_frame(lines) + b"\x53\x2a\x4d\x18\3\0\0\0abc" + zstd_frame(lines),
        "cut": zstd_frame(lines)[:-1],
    }


def main():
    write("tokenizer", tokenizer_seeds())
    write("encode", encode_seeds())
    write("prompt", prompt_seeds())
    write("npz", npz_seeds())
    write("safetensors", safetensors_seeds())
    write("fingerprint", fingerprint_seeds())
    write("gguf", gguf_seeds())
    write("scenario", scenario_seeds())
    write("conversation", conversation_seeds())
    write("input", input_seeds())
    write("config", config_seeds())
    write("template", template_seeds())
    write("zarr", zarr_seeds())
    write("archive", archive_seeds())


main()
