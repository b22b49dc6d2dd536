// The subcommands. argv[0] is the program's and the command's name; the value is the process's exit
// status.
#pragma once

enum {
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
};

int command_run(int argc, char *argv[]);
int command_replay(int argc, char *argv[]);
int command_flows(int argc, char *argv[]);
int command_keygen(int argc, char *argv[]);
int command_enroll(int argc, char *argv[]);
int command_rotate(int argc, char *argv[]);
int command_status(int argc, char *argv[]);
int command_check(int argc, char *argv[]);
