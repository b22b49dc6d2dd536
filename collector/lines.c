#include "collector/lines.h"

bool line_read(FILE *f, char *text, size_t size, struct line *ret)
{
    struct line line = {0};
    int c;
    while ((c = getc_unlocked(f)) != EOF && c != '\n') {
        if (c == '\0')
            line.wrong = "a NUL byte in the line";
        else if (line.n + 1 < size)
            text[line.n++] = (char)c;
        else if (!line.wrong)
            line.wrong = "the line is too long";
    }
    text[line.n] = '\0';
    line.ended = c == '\n';
    if (!line.ended && line.n == 0 && !line.wrong)
        return false;
    *ret = line;
    return true;
}
