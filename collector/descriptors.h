// How many descriptors a collector may have open, and so how many connections: as LimitNOFILE of
// its service. What is kept by descriptor has room for so many.
#pragma once

#define DESCRIPTORS_MAX 65536
