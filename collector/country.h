// Which two letters name a country.
#pragma once

#include <stdbool.h>

// ISO 3166-1 alpha-2, as assigned, in capitals; and XK, which ISO leaves to its users and which
// MaxMind, Unicode's CLDR and the European Union take for Kosovo (decision 84).
bool country_is_known(const char code[2]);
