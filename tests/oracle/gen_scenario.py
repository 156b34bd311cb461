#!/usr/bin/env python3
"""Writes tests/goldens/scenario/*.json: what PyYAML and Activation Lab's pydantic models make of our YAML files.

    ACTIVATION_LAB=/path/to/llmct-checkout [LCT_SHARED=../shared] python tests/oracle/gen_scenario.py

Needs PyYAML and pydantic. Only src/activation_lab/scenario.py of the checkout is imported; nothing of it is copied.
Where this project is deliberately stricter (integers beyond 64 bits, numbers that are not finite), the oracle's answer is
replaced by a rejection, below.
"""
import hashlib
import importlib.util
import json
import math
import os
import pathlib
import sys

import pydantic
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "tests" / "goldens" / "scenario"

SCALARS = """
||~|null|Null|NULL|nULL|yes|Yes|YES|yEs|no|No|NO|true|True|TRUE|tRUE|false|False|FALSE|on|On|ON|oN|off|Off|OFF|y|Y|n|N|t|f
|0|1|2|-1|+1|-0|5|42|1_000|1__0|10_|_1|007|010|-010|08|09|0_7|0b101|0b1_0|-0b11|0b|0b2|0x1F|0xff_ff|-0x10|0x|0xg|0o17|1e3|1E3
|1e+3|1.5|1.|.5|-.5|+.5|1.5e3|1.5e+3|1.5E-3|1.0e|-1.25|+1.25|1_0.5|1._5|.5_0|._5|.|-.|..|1.2.3|5.0|5.5|-5.0|1e400|1.0e+400
|.inf|-.inf|+.inf|.Inf|.INF|.iNF|.nan|.NaN|.NAN|-.nan|inf|nan|Infinity|1:30|1:30:45|-1:30|1:60|0:30|12:5|1:2:3.5|1:30.25|-1:30.5
|1:|:1|9223372036854775807|-9223372036854775808|2147483648|1e18|9007199254740993|1.0e+18
|2024-01-31|2024-1-31|2024-01-31T10:20:30|2024-1-1 1:20:30|2024-01-31 10:20:30.5 +01:00|2024-01-31t10:20:30Z|2024-01-31 10:20
|2024-01-3|20240131|12-34|hello|a b|"5"|'5'|"5.0"|'5.5'|" 7 "|'+7'|"--7"|"1_000"|"1e3"|"yes"|'YES'|"off"|"maybe"|""|' '|"true "
|"0"|"1"|'null'|!!str 5|!!str yes|!!str null|!!int 5|!!int "5"|!!int '0x10'|!!float 5|!!float "1.5"|!!float 1e3|!!float .inf|!!bool yes
|!!bool "no"|!!null ""|!!null ~|! 5|! "5"|! text|"\\u00e9"|"<<"|'='|-|--|---x|+|5 |0.0|1.0|0.5|-0.0|1-2|+-1|0x1.8|1,000|1_000.5_0|"0_1"
|"00012"|"-007"|".5"|"5."|"-inf"|"NaN"|"12.000"|"12.001"|"1_0.00"|" -3"|"- 3"|"0x10"|"1_"|"_1"|"1__0"
""".strip("\n").replace("\n", "").split("|")[1:]

KINDS = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}


def number(v):
    """JSON without Infinity and NaN."""
    return v if not isinstance(v, float) or math.isfinite(v) else repr(v)


def scalar_case(text):
    case = {"text": text}
    try:
        value = yaml.safe_load("v: " + text)["v"]
    except (yaml.YAMLError, ValueError):
        return {**case, "yaml": "error"}
    kind = KINDS.get(type(value), "timestamp")
    if kind == "int" and not -(2**63) <= value < 2**63:  # stricter: 64 bits
        return {**case, "yaml": "error"}
    case["yaml"] = kind
    if kind in ("int", "float", "bool"):
        case["value"] = number(value)
    for field in (int, float, bool, str):
        try:
            v = pydantic.TypeAdapter(field).validate_python(value)
        except pydantic.ValidationError:
            continue
        if field is int and not -(2**63) <= v < 2**63 or field is float and not math.isfinite(v):
            continue  # stricter: 64 bits, finite
        case["as_" + field.__name__] = v
    return case


def load_models():
    path = pathlib.Path(os.environ["ACTIVATION_LAB"]) / "src" / "activation_lab" / "scenario.py"
    spec = importlib.util.spec_from_file_location("activation_lab_scenario", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pydantic looks annotations up there
    spec.loader.exec_module(module)
    return module.Scenario


def dump(scenario_class, data):
    """data: a YAML file's bytes. Activation Lab's sorted(set(layers)) is applied as its capture does."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    out = scenario_class.model_validate(yaml.safe_load(text)).model_dump()
    if out["capture"]["layers"] != "all":
        out["capture"]["layers"] = sorted(set(out["capture"]["layers"]))
    return out


def n_replaced(data):
    """U+FFFD that decoding put in, not those the file holds."""
    return data.decode("utf-8", errors="replace").count("\ufffd") - data.decode("utf-8", errors="ignore").count("\ufffd")


def main():
    scenario_class = load_models()
    (GOLDENS / "scalars.json").write_text(json.dumps([scalar_case(t) for t in SCALARS], indent=1) + "\n")
    for path in sorted(GOLDENS.glob("*.yaml")) + [ROOT / "configs" / "where_emotions_lie.yaml"]:
        data = path.read_bytes()
        golden = {"sha256": hashlib.sha256(data).hexdigest(), "n_replaced": n_replaced(data), "scenario": dump(scenario_class, data)}
        (GOLDENS / (path.stem + ".json")).write_text(json.dumps(golden, indent=1) + "\n")
    shared = pathlib.Path(os.environ.get("LCT_SHARED", ROOT.parent / "shared")) / "reference" / "activation_lab_scenario.yaml"
    if not shared.exists():
        print("no shared scenario file: shared_scenario.json left as it is")
        return
    data = shared.read_bytes()
    out = dump(scenario_class, data)
    compact = json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode()
    facts = {"file_sha256": hashlib.sha256(data).hexdigest(), "compact_sha256": hashlib.sha256(compact).hexdigest(),
             "name": out["name"], "n_messages": len(out["prompt"][0]["messages"]), "n_references": len(out["reference_states"])}
    (GOLDENS / "shared_scenario.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
