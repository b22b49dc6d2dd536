// The report's page, as embed_report.py made it of report/: template, style, script, and the
// Content-Security-Policy that lets that script and that style in and nothing else.
#pragma once

#include <stddef.h>

// The page is part 0, the language ("ja"), part 1, the data as JSON without any '<', part 2. Part 0
// is NULL where the program was built without the script's bundle (see report/build).
extern const char *const report_page[3];
