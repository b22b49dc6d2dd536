// Which two letters name a country.
#pragma once

#include <stdbool.h>

// ISO 3166-1 alpha-2, as assigned, in capitals; and two that ISO leaves to its users: XK, which
// MaxMind, Unicode's CLDR and the European Union take for Kosovo, and ZZ, CLDR's for unknown or
// none (decision 84).
bool country_is_known(const char code[2]);
