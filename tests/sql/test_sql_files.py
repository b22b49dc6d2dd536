#!/usr/bin/python3
"""The rules of docs/architecture.md, "The database", over the text of collector/sql and of the statements in collector/*.c: TAP.

What the catalogue shows is in 31_catalogue.sql; this looks at what leaves no trace there, and at what is not applied by it.
"""
import pathlib
import re

TOP = pathlib.Path(__file__).resolve().parents[2] / "collector"
BOOKS = r"(ledger|batch|observation|loss|quarantine|flow|flood|sensor_address)"
# (rule, expression that breaks it, files it does not hold for)
RULES = [
    ("functions are PL/pgSQL", r"language\s+sql\b", ()),
    ("no triggers", r"create\s+(or\s+replace\s+)?(constraint\s+)?trigger\b", ()),
    ("no rules", r"create\s+(or\s+replace\s+)?rule\b", ()),
    ("no GROUPING SETS", r"grouping\s+sets|group\s+by\s+(rollup|cube)\s*\(", ()),
    ("no DETACH of partitions, CONCURRENTLY or not", r"detach\s+partition", ()),
    ("nothing CONCURRENTLY, which no transaction takes", r"\bconcurrently\b", ()),
    ("no clock in DO UPDATE SET", rf"insert\s+into\s+hirundo\.{BOOKS}\b(?:(?!insert\s+into).)*do\s+update\s+set[^;]*?\b(now|clock_timestamp)\s*\(", ()),
    ("ts is compared with bounds, never ts <@", r"\bts\s*<@|@>\s*(\w+\.)?ts\b", ()),
    ("addresses are compared with bounds, never src <<=", r"\bsrc\s*<<=?|>>=?\s*(\w+\.)?src\b", ()),
    ("no foreign keys on what is distributed", rf"create\s+table\s+hirundo\.{BOOKS}\s*\((?:(?!;).)*\breferences\b", ()),
    ("flow and flood have BRIN indexes only", r"create\s+(unique\s+)?index\s+\w+\s+on\s+hirundo\.(flow|flood)\s+(?!using\s+brin)", ()),
    ("no advisory lock of a session, which a pooler would keep", r"pg_(try_)?advisory_lock", ()),
    ("distribution is in distribute.sql alone", r"create_distributed_table|create_reference_table", ("distribute.sql",)),
]


def bare(text, keep_strings=False):
    """SQL without comments; without what stands in quotes unless kept; dollar quotes stay."""
    def replace(match):
        token = match.group(0)
        if token.startswith("--"):
            return ""
        return token if keep_strings else "''"
    return re.sub(r"--[^\n]*|'(?:[^']|'')*'", replace, text)


def statements(path):
    return [part for part in re.split(r"^----$", path.read_text(encoding="utf-8"), flags=re.M) if bare(part).strip()]


def in_c(path):
    """The string literals of a C file, neighbours joined."""
    text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"(?:\s*(?:[A-Z_]+\s*)?"(?:[^"\\]|\\.)*")*', text):
        joined = re.sub(r'"\s*(?:[A-Z_]+\s*)?"', "", match.group(0))[1:-1]
        if re.match(r"\s*(select|insert|update|delete|copy|with\s+\w+\s+(\(|as\b)|create|alter|do)\b", joined, re.I):
            yield joined


def several(statement):
    """Whether it is more than one statement: a semicolon that is not its end, outside of quotes of any kind."""
    outside = re.sub(r"\$(\w*)\$.*?\$\1\$", "", bare(statement), flags=re.S)
    return ";" in outside.strip().rstrip(";")


def main():
    texts = {path.name: statements(path) for folder in ("schema", "analysis", ".") for path in sorted((TOP / "sql" / folder).glob("*.sql"))}
    code = {path.name: list(in_c(path)) for path in sorted(TOP.glob("*.c"))}
    results = [("there is something to look at", [] if sum(map(len, texts.values())) > 150 and sum(map(len, code.values())) > 40 else ["no"])]
    for rule, pattern, exempt in RULES:
        broken = [f"{name}: {' '.join(match.group(0).split())[:100]}"
                  for name, parts in {**texts, **code}.items() if name not in exempt
                  for part in parts for match in [re.search(pattern, bare(part), re.I | re.S)] if match]
        results.append((rule, broken))
    results.append(("one statement at a time", [f"{name}: {part.strip()[:60]}" for name, parts in {**texts, **code}.items()
                                                for part in parts if several(part)]))
    results.append(("a reader of these rules finds what breaks them", [
        rule for rule, sample in (
            ("functions are PL/pgSQL", "create function hirundo.f() returns int language sql as $$ select 1 $$"),
            ("ts is compared with bounds, never ts <@", "select from hirundo.flow f where f.ts <@ p"),
            ("addresses are compared with bounds, never src <<=", "select from hirundo.flow f where f.src <<= p"),
            ("no clock in DO UPDATE SET", "insert into hirundo.ledger values (1) on conflict (a) do update set x = now()"),
            ("no foreign keys on what is distributed", "create table hirundo.loss (\n a int references hirundo.sensor\n)"),
            ("flow and flood have BRIN indexes only", "create index x on hirundo.flow (src)"),
        ) if not re.search(dict((r, p) for r, p, _ in RULES)[rule], bare(sample), re.I | re.S)]
        + ([] if several("select 1; select 2") and not several("do $$ begin a; b; end $$;") else ["several"])))
    print(f"1..{len(results)}")
    for number, (rule, broken) in enumerate(results, 1):
        print(f"{'not ok' if broken else 'ok'} {number} - {rule}")
        for line in broken:
            print(f"# {line}")


if __name__ == "__main__":
    main()
