// Link-layer framing and classic capture files (little-endian, microseconds), written as a stream.
// https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html
#pragma once

#include <stdint.h>

#include "packet.h"
#include "sensors.h"

#define FRAME_SNAPLEN 128

struct capture;

// Creates (or truncates) the file and writes its header. 0 or -errno.
int capture_new(const char *path, const struct sensor *sensor, struct capture **ret_capture);

// Writes one frame; time_us since the start of the quarter, not before the frame written last.
int capture_write(struct capture *capture, uint64_t time_us, const struct packet *packet);

// Flushes and closes; capture is gone whatever is returned. 0 or -errno.
int capture_close(struct capture *capture);
