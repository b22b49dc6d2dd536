// What others wrote (names in a file, a directory's entries, a database's words), fit for one line
// of a terminal: it cannot move the cursor, turn the direction of writing round or hide a part of
// itself.
#pragma once

#include <stdbool.h>

// Each control character, each mark that turns writing round or takes no room, and each byte that
// is no UTF-8 becomes one '?'. All else stays as it is. In place: the text never grows.
void printable(char *text);
// Whether printable() would change nothing.
bool is_printable(const char *text);
