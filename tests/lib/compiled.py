"""C files as the build compiles them, and stamps of those that a tool found clean: for tidy.py and analyzer.py."""
import hashlib
import json
import os
import shlex
import subprocess


def output(command, directory=None):
    return subprocess.run(command, cwd=directory, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, errors="replace")


def words_of(entry):
    """The compiler's words, without what they write."""
    words = shlex.split(entry["command"])
    for option in ("-o", "-MQ", "-MF"):
        while option in words:
            at = words.index(option)
            del words[at:at + 2]
    return [word for word in words if word not in ("-c", "-MD")]


class Compiled:
    """Files of a build directory. What was clean and is the same since, comments included, need not be looked at again."""

    def __init__(self, build, tool, rules):
        self.cache = build / tool
        self.cache.mkdir(exist_ok=True)
        entries = json.loads((build / "compile_commands.json").read_text())
        self.entries = {os.path.realpath(os.path.join(e["directory"], e["file"])): e for e in entries}
        self.rules = rules

    def entry(self, file):
        return self.entries.get(os.path.realpath(file))

    def stamp(self, file):
        """The path of the file's stamp; None where the build does not know the file."""
        entry = self.entry(file)
        if not entry:
            return None
        source = output([*words_of(entry), "-E", "-C"], entry["directory"]).stdout
        return self.cache / hashlib.sha256((self.rules + source).encode()).hexdigest()
