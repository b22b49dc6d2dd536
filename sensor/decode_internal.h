// What decode_link.c calls in decode_ip.c.
#pragma once

#include "sensor/cursor.h"
#include "sensor/decode.h"

// c at the first byte of the IP header.
enum decode_result decode_ipv4(struct cursor c, struct packet *ret);
enum decode_result decode_ipv6(struct cursor c, struct packet *ret);
// Either, by the version nibble.
enum decode_result decode_ip(struct cursor c, struct packet *ret);
