// The program's subcommands and what they share. Each takes its own words (argv[0] is the program's
// and its name) and returns the exit code.
#pragma once

#include "collector/collector_conf.h"
#include "collector/db.h"

#define EXIT_USAGE 2

int command_migrate(int argc, char **argv);
int command_serve(int argc, char **argv);
int command_status(int argc, char **argv);
int command_keygen(int argc, char **argv);
int command_maintain(int argc, char **argv);
int command_sensor(int argc, char **argv);
int command_import(int argc, char **argv);
int command_partner(int argc, char **argv);
int command_quarantine(int argc, char **argv);
int command_notice(int argc, char **argv);
int command_report(int argc, char **argv);
int command_export(int argc, char **argv);
int command_verify(int argc, char **argv);

void command_name_first(int argc, char **argv);

// A group of subcommands: runs the one that argv[1] names.
struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
};
int command_dispatch(const struct subcommand *table, size_t n, const char *usage, int argc,
                     char **argv);

// The options every command takes: -c FILE, --help. Others in `extra` (getopt_long's, ended by
// zeros), reported through on_option. Positional words are left at argv[*ret_first..].
// 0; else the exit code to end with is *ret_exit and the result is 1.
struct command_line {
    const char *usage;
    const struct option *extra;
    int (*on_option)(int option, const char *value, void *data); // 0, or -EINVAL: usage
    void *data;
    int words_min, words_max;
};
int command_parse(const struct command_line *line, int argc, char **argv, const char **ret_conf,
                  char ***ret_words, int *ret_exit);

// For on_option. A number, kept in `values` as its key says; --name YYYY-MM-DD. 0; -EINVAL: it is
// said what is wrong.
int command_set_number(const struct conf_key *key, const char *value, void *values);
int command_set_day(const char *name, const char *value, const char **ret);

// The configuration and a connection as `role`, both or neither; errors are printed.
int command_open(const char *conf_path, const char *role, struct collector_conf *ret_conf,
                 struct db **ret_db);
// Likewise for who only reads: as hirundo_analyst, or as hirundo_owner where the login may that
// alone.
int command_open_reader(const char *conf_path, struct collector_conf *ret_conf, struct db **ret_db);
// Likewise as hirundo_owner, to a database that has this version's schema. ret_conf: NULL if nobody
// needs it.
int command_open_owner(const char *conf_path, struct collector_conf *ret_conf, struct db **ret_db);
// -EINVAL with *e: the database has no such function (as regprocedure reads it) yet.
int command_require_function(struct db *db, const char *function, struct errmsg *e);
// One transaction: begin, what `work` does, commit; rolled back if that fails.
int command_transaction(struct db *db, int (*work)(struct db *db, void *data, struct errmsg *e),
                        void *data, struct errmsg *e);
// A result as a table: columns as wide as a terminal shows their values (labels are in any script).
void command_print_table(const PGresult *result);
// "hirundo-collector: text" on stderr; returns EXIT_FAILURE.
int command_fail(const struct errmsg *e);
