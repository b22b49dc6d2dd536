"""generate.py OUT PROGRAM...: man pages and bash completions of the programs, from what their --help says.

A page for each program and each command (hirundo-sensor.1, hirundo-sensor-run.1, ...) and one completion for each
program. The help is the one place where commands and options are described; tests/integration/test_help.py checks it
against what the programs take.
"""
import datetime
import os
import pathlib
import re
import subprocess
import sys
import textwrap

COMMAND = re.compile(r"^  ([a-z]+)(?: .*?)?(?: {2,}(\S.*))?$")
TABLE_LINE = re.compile(r"^  |^\[[a-z]+\]$|\S {3,}\S|^[a-z_]+ *= ")
OPTION_LINE = re.compile(r"^ {2,4}((?:--?[A-Za-z][\w-]*|[a-z]+)(?:[ =\[][^ ].*?)?)(?: {2,}(\S.*))?$")
LONG = re.compile(r"--[a-z][a-z-]+")


def run(*words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not done.stdout:
        sys.exit(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def commands_of(program):
    """{name: what the program's own list says of it or None}, in the list's order."""
    found = {}
    for line in run(program, "--help").splitlines():
        match = COMMAND.match(line)
        if match and not found.get(match.group(1)):
            found[match.group(1)] = match.group(2)
    return found


def escape(text):
    """Text for mdoc: no macro, no escape, no hyphen that is none."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in ".'" else text


def sentences(text):
    """Each on lines of its own, as roff wants it."""
    return [escape(line) for sentence in re.split(r"(?<=[.?!]) +(?=\S)", text)
            for line in textwrap.wrap(sentence, 76, break_on_hyphens=False, break_long_words=False)]


def parts_of(text):
    """(usage lines, [(kind, lines)...]): kind is "text", "option" or "code"."""
    lines = text.rstrip("\n").split("\n")
    usage, rest = [], []
    for number, line in enumerate(lines):
        if number == 0 or (not rest and line.startswith("      ")):
            usage.append(re.sub(r"^(usage:|      ) ?", "", line).rstrip())
        else:
            rest.append(line)
    parts = []
    for line in rest:
        option = OPTION_LINE.match(line)
        deeper = re.match(r"^ {6,}\S", line)
        if not line:
            parts.append(("space", []))
        elif option and (option.group(2) or line.lstrip().startswith("-")):
            parts.append(("option", [option.group(1), option.group(2) or ""]))
        elif deeper and parts and parts[-1][0] == "option":
            parts[-1][1][1] += " " + line.strip()
        elif TABLE_LINE.search(line):
            parts.append(("code", [line]))
        elif parts and parts[-1][0] == "text":
            parts[-1][1].append(line)
        else:
            parts.append(("text", [line]))
    return usage, parts


def description(parts):
    out, kind = [], None
    for now, lines in parts:
        if now != kind:
            out += [".El"] if kind == "option" else [".Ed"] if kind == "code" else []
            out += [".Bl -tag -width Ds"] if now == "option" else []
            out += [".Bd -literal -offset indent"] if now == "code" else []
            out += [".Pp"] if now == "text" and kind in ("space", "option", "code") and out else []
        kind = now
        if now == "option":
            out += [".It " + escape(lines[0]), *sentences(lines[1])]
        elif now == "text":
            # Short lines run on; a line that was not broken is a paragraph.
            running = "\0".join(lines)
            running = re.sub("(?<=[^\0]{60})\0", " ", running) if max(map(len, lines)) < 110 else running
            for number, line in enumerate(running.split("\0")):
                out += ([".Pp"] if number and len(line) > 110 else []) + sentences(line)
        elif now == "code":
            out += map(escape, lines)
    out += [".El"] if kind == "option" else [".Ed"] if kind == "code" else []
    return out


def summary_of(parts):
    """The first sentence that says what it does."""
    text = " ".join(line for kind, lines in parts if kind == "text" for line in lines)
    told = [s for s in re.split(r"(?<=[.;])\s", text + " ") if not re.match(r"\S+:", s)] or [text]
    first = told[0].rstrip(".; ")
    return first[:1].lower() + first[1:]


def page(name, text, others, date, summary=None):
    usage, parts = parts_of(text)
    out = [f".Dd {date}", f".Dt {name.upper()} 1", ".Os Hirundo", ".Sh NAME", f".Nm {name}",
           f".Nd {escape(summary or summary_of(parts))}", ".Sh SYNOPSIS", ".Bd -literal", *map(escape, usage), ".Ed",
           ".Sh DESCRIPTION", *description(parts), ".Sh EXIT STATUS", "0 done, 1 failed, 2 wrong usage."]
    also = [f".Xr {other} 1 ," for other in others]
    if also:
        also[-1] = also[-1][:-2]
        out += [".Sh SEE ALSO", *also]
    return "\n".join(out) + "\n"


def words_of(text):
    """What may follow a command: its options, and its own subcommands."""
    words = sorted(set(LONG.findall(text)) - {"--help"}) + ["--help"]
    usage, _ = parts_of(text)
    found = []
    for line in usage:
        rest = line.split()[2:]
        alternatives = " ".join(rest).split(" | ")
        for alternative in alternatives:
            first = alternative.split()[:1]
            if first and re.fullmatch(r"[a-z]+", first[0]) and first[0] not in found:
                found.append(first[0])
    return found + words


def completion(program, words):
    name = os.path.basename(program)
    function = "_" + name.replace("-", "_")
    lines = [f"# bash completion of {name}; generated from its --help", f"{function}() {{",
             "    local word=${COMP_WORDS[COMP_CWORD]} known=''",
             "    if ((COMP_CWORD == 1)); then",
             f"        known='{' '.join([*words, '--help', '--version'])}'",
             "    else",
             "        case ${COMP_WORDS[1]} in"]
    for command, following in words.items():
        lines += [f"        {command}) known='{' '.join(following)}' ;;"]
    lines += ["        esac", "    fi",
              "    mapfile -t COMPREPLY < <(compgen -W \"$known\" -- \"$word\")",
              "    # Anything else is a file.",
              "    ((${#COMPREPLY[@]} || COMP_CWORD == 1)) || mapfile -t COMPREPLY < <(compgen -f -- \"$word\")",
              "}", f"complete -o filenames -F {function} {name}"]
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__.splitlines()[0])
    out, programs = pathlib.Path(sys.argv[1]), sys.argv[2:]
    stamp = int(os.environ.get("SOURCE_DATE_EPOCH", "0")) or datetime.datetime.now(datetime.timezone.utc).timestamp()
    date = datetime.datetime.fromtimestamp(stamp, datetime.timezone.utc).strftime("%B %-d, %Y")
    for directory in ("man", "completions"):
        (out / directory).mkdir(parents=True, exist_ok=True)
    for program in programs:
        name = os.path.basename(program)
        listed = commands_of(program)
        helps = {command: run(program, command, "--help") for command in listed}
        pages = sorted(f"{name}-{command}" for command in helps)
        kind = "passive sensor" if name.endswith("sensor") else "collector"
        (out / "man" / f"{name}.1").write_text(
            page(name, run(program, "--help"), pages, date, f"{kind} of an Internet threat monitoring system"))
        for command, text in helps.items():
            (out / "man" / f"{name}-{command}.1").write_text(
                page(f"{name}-{command}", text, [name], date, listed[command]))
        (out / "completions" / name).write_text(completion(program, {c: words_of(t) for c, t in helps.items()}))


if __name__ == "__main__":
    main()
