"""--help, man pages and completions are one text: it names every option that a command takes, and no other."""
import pathlib
import re
import subprocess
import sys

import pytest

import hirundo

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "deploy/man"))
import generate  # noqa: E402

FILES = {"hirundo-sensor": "sensor/cmd_{}*.c", "hirundo-collector": "collector/command_{}*.c"}
OPTION = re.compile(r'\{"([a-z-]+)", (?:no|required|optional)_argument')
COMMANDS = [(program, command) for program in FILES for command in generate.commands_of(hirundo.program(program))]


def help_of(program, command):
    return subprocess.run([hirundo.program(program), command, "--help"], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("program,command", COMMANDS)
def test_help_names_every_option(program, command):
    text = help_of(program, command)
    named = set(re.findall(r"--([a-z][a-z-]+)", text))
    taken = set()
    for path in TOP.glob(FILES[program].format(command)):
        taken |= set(OPTION.findall(path.read_text()))
    taken -= {"help"}
    if "config" in taken:  # -c
        taken.remove("config")
        assert "-c FILE" in text or program == "hirundo-collector"
    assert taken <= named, f"not in the help: {taken - named}"
    other = set(re.findall(r"hirundo-\w+ [a-z ]*--([a-z-]+)", text.split("\n\n", 1)[-1])) if taken else set()
    assert not taken or named - other <= taken, f"only in the help: {named - taken}"


@pytest.mark.parametrize("program", FILES)
def test_list_of_commands_is_whole(program):
    source = (TOP / ("sensor/main.c" if program == "hirundo-sensor" else "collector/main.c")).read_text()
    dispatched = set(re.findall(r'\{"([a-z]+)", command_', source))
    assert dispatched == {command for name, command in COMMANDS if name == program}
