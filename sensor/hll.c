#include "sensor/hll.h"

#include <math.h>

#define Q (64 - HLL_P) // the greatest rank is Q + 1

static double sigma(double x)
{
    if (x == 1.0)
        return INFINITY;
    double y = 1.0, z = x, before;
    do {
        x *= x;
        before = z;
        z += x * y;
        y += y;
    } while (z != before);
    return z;
}

static double tau(double x)
{
    if (x == 1.0)
        return 0.0;
    double y = 1.0, z = 1.0 - x, before;
    do {
        x = sqrt(x);
        before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
    } while (z != before);
    return z / 3.0;
}

uint64_t hll_estimate(const struct hll *h)
{
    const double m = HLL_REGISTERS;
    uint32_t count[Q + 2] = {0}; // registers by rank
    for (uint32_t i = 0; i < HLL_REGISTERS; i++)
        count[h->registers[i]]++;
    double z = m * tau(1.0 - count[Q + 1] / m);
    for (int k = Q; k >= 1; k--)
        z = 0.5 * (z + count[k]);
    z += m * sigma(count[0] / m);
    return (uint64_t)llround(m * m / (2.0 * M_LN2 * z));
}
