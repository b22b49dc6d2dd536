"""Compares a world's database with what was sent, row by row.

Each packet sent must be counted exactly once, or its time must lie in what the database declares: an interval of a
`loss` row, the windows of a quarantined batch; or within a time in which the sensor was stopped in order and
observed nothing. Packets that the kernel dropped are counted, not named: so many may be missing.
"""
import ipaddress

import traffic

NEAR_S = 0.25  # how far a packet's time by the kernel may be from when it was sent
CLAMP_S = 2.0  # a late packet counts in the open window

FLOWS = ("select s.name, extract(epoch from f.ts)::float8, f.packets, f.port, f.src - '198.18.0.0'::inet, f.bytes, "
         "f.src_port, f.ttl, f.proto, f.tcp_flags, f.marks, f.ip_id, f.ip_len, f.tcp_window, "
         "a.address - '0.0.0.0'::inet from hirundo.flow f join hirundo.sensor s using "
         "(sensor_id) left join hirundo.sensor_address a using (sensor_id, dst_no)")
LOSSES = ("select s.name, l.kind, extract(epoch from l.first_window), extract(epoch from l.last_window), l.frames, "
          "l.reason from hirundo.loss l join hirundo.sensor s using (sensor_id)")
BATCHES = ("select s.name, b.outcome, extract(epoch from b.first_window), extract(epoch from b.last_window), "
           "b.frames, b.spool_id, b.seq from hirundo.batch b join hirundo.sensor s using (sensor_id) "
           "order by 1, 6, 7")
SLOTS = ("select s.name, o.slot, o.row_packets, coalesce(f.packets, 0), o.frames - o.row_packets - o.flood_packets - "
         "o.non_ip - o.malformed - o.quarantined - o.lost from hirundo.observation o join hirundo.sensor s "
         "using (sensor_id) left join (select sensor_id, date_bin('15 minutes', ts, '2000-01-01 00:00:00+00') as slot, "
         "sum(packets) as packets from hirundo.flow group by 1, 2) f using (sensor_id, slot)")
SUMS = ("select s.name, sum(o.row_packets), sum(o.flood_packets), sum(o.lost), sum(o.quarantined), "
        "sum(o.kernel_dropped + o.if_dropped) from hirundo.observation o join hirundo.sensor s using (sensor_id) "
        "where o.slot >= to_timestamp(%s) - interval '15 minutes' group by 1")
MARKERS = ("select src, port from hirundo.flow f join hirundo.sensor s using (sensor_id) "
           "where s.name = %s and port = %s and src = %s")


class Report:
    def __init__(self):
        self.errors = []
        self.figures = dict.fromkeys(("sent", "rows", "batches", "missing", "unknown", "lost", "quarantined",
                                      "not observed", "dropped by kernel", "dropped, by the kernel's count", "duplicated", "undeclared", "forks",
                                      "loss rows"), 0)

    def error(self, text):
        self.errors.append(text)

    def add(self, figure, n):
        self.figures[figure] += n


def offsets_of(sensor, began, ended):
    return sensor.clock.around(began, ended) or {0}


def check_row(report, sensor, sent, row):
    """The packet's number, if the row is as it must be."""
    _, ts, packets, port, source = row[:5]
    n = source + (port - traffic.FIRST_PORT) * traffic.SOURCES if port is not None else -1
    if not 0 <= n < len(sent):
        report.error(f"{sensor.name}: a row that was never sent: {row}")
        return None
    want = (40 * packets, traffic.source_port_of(n), traffic.ttl_of(n), 6, 2, 0, traffic.ip_id_of(n), 40,
            traffic.window_of(n), traffic.destination_of(sensor.number))
    if row[5:] != want:
        report.error(f"{sensor.name}: packet {n} is not as it was sent: {row}")
    began, ended = sent.began[n], sent.ended[n]
    if not began - CLAMP_S <= ts <= ended + CLAMP_S and not any(
            began + o - CLAMP_S <= ts <= ended + o + CLAMP_S for o in offsets_of(sensor, began, ended)):
        report.error(f"{sensor.name}: packet {n} was sent at {began:.3f} (clock off by "
                     f"{offsets_of(sensor, began, ended)}) and has the time {ts:.3f}")
    return n


class Missing:
    """Packets of one sensor that are not in flow, and what explains them."""

    def __init__(self, sensor, losses, quarantined):
        self.sensor = sensor
        self.intervals = {"unknown": [], "lost": [], "quarantined": quarantined}
        for kind, first, last in losses:
            self.intervals[kind].append((first, last))
        self.found = dict.fromkeys(("not observed", "unknown", "lost", "quarantined"), 0)
        self.open = []  # (number, how many)

    def take(self, n, count, sent):
        began, ended = sent.began[n], sent.ended[n]
        for low, high in self.sensor.unobserved:
            if began <= (high or float("inf")) + NEAR_S and ended >= low - NEAR_S:
                self.found["not observed"] += count
                return
        for kind in ("unknown", "lost", "quarantined"):
            for offset in offsets_of(self.sensor, began, ended):
                if any(began + offset <= high + NEAR_S and ended + offset >= low - NEAR_S
                       for low, high in self.intervals[kind]):
                    self.found[kind] += count
                    return
        self.open.append((n, count))


def check_sensor(report, sensor, sent, rows, losses, batches, sums):
    got = [0] * len(sent)
    for row in rows:
        n = check_row(report, sensor, sent, row)
        if n is not None:
            got[n] += row[2]
    quarantined = [(first, last) for outcome, first, last, _ in batches if outcome == "quarantined"]
    missing = Missing(sensor, [(kind, first, last) for kind, first, last, _, _ in losses], quarantined)
    for n, count in enumerate(got):
        if count > traffic.copies(n):
            report.add("duplicated", count - traffic.copies(n))
            report.error(f"{sensor.name}: packet {n}, sent {traffic.copies(n)} times at {sent.began[n]:.3f}, is counted "
                         f"{count} times")
        elif count < traffic.copies(n):
            missing.take(n, traffic.copies(n) - count, sent)
    settle(report, sensor, sent, missing, sums)
    counted = sum(frames for outcome, _, _, frames in batches if outcome == "committed")
    if counted != sum(got):
        report.error(f"{sensor.name}: its batches say {counted} frames, flow has {sum(got)}")
    report.add("sent", sent.packets())
    report.add("rows", len(rows))
    report.add("batches", len(batches))
    report.add("loss rows", len(losses))


def settle(report, sensor, sent, missing, sums):
    """Counted losses are exact; beside them only so many may be missing without an interval as the kernel dropped."""
    _, floods, lost, quarantined, dropped = sums
    uncounted = sum(count for _, count in missing.open)
    known = missing.found["lost"] + missing.found["quarantined"]
    everything = uncounted + sum(missing.found.values())
    report.add("missing", everything)
    for kind, count in missing.found.items():
        report.add(kind, count)
    report.add("dropped by kernel", min(uncounted, dropped))
    if uncounted > dropped:
        report.add("undeclared", uncounted - dropped)
        (first, _), (last, _) = missing.open[0], missing.open[-1]
        report.error(f"{sensor.name}: {uncounted} packets are missing and nothing says so ({dropped} were dropped by the "
                     f"kernel): packet {first}, sent at {sent.began[first]:.3f}, to {last}, sent at "
                     f"{sent.began[last]:.3f}")
    report.add("dropped, by the kernel's count", dropped)
    seen_whole = not missing.intervals["unknown"] and not sensor.unobserved
    if seen_whole and everything != dropped + lost + quarantined:
        report.error(f"{sensor.name}: {everything} packets are missing, {dropped} dropped, {lost} lost and {quarantined} "
                     "quarantined ones are counted")
    if known > lost + quarantined + dropped:
        report.error(f"{sensor.name}: {known} packets are missing in windows of counted losses, which count "
                     f"{lost} lost, {quarantined} quarantined, {dropped} dropped")
    if lost + quarantined > everything:
        report.error(f"{sensor.name}: {lost} lost and {quarantined} quarantined packets are counted, {everything} are "
                     "missing")
    if floods:
        report.error(f"{sensor.name}: {floods} packets in flood rows; none was meant to be")


def check_slots(report, rows):
    for name, slot, counted, there, difference in rows:
        if counted != there:
            report.error(f"{name}: observation says {counted} row packets in {slot}, flow has {there}")
        if difference != 0:
            report.error(f"{name}: the accounting of {slot} has a difference of {difference}")


def check_numbers(report, batches):
    """Numbers of a spool have no hole but behind a range of unknown extent."""
    before = {}
    for name, outcome, _, _, _, spool, seq in batches:
        last = before.get((name, spool), (0, "unknown" if seq == 1 else "committed"))
        if seq != last[0] + 1 and last[1] != "unknown":
            report.error(f"{name}: batch {seq} of spool {spool} follows {last[0]}")
        before[(name, spool)] = (seq, outcome)


def check(world, since=0):
    """since: rows and batches of before are not of this world's traffic."""
    report = Report()
    query = world.database.query
    flows, losses, batches, sums = query(FLOWS), query(LOSSES), query(BATCHES), query(SUMS, since)
    flows = [row for row in flows if row[1] >= since]
    everything, batches = batches, [row for row in batches if float(row[3] or 0) >= since]
    for sensor, sent in zip(world.sensors, world.traffic.sent):
        mine = sensor.name
        check_sensor(report, sensor, sent, [row for row in flows if row[0] == mine],
                     [(r[1], float(r[2]), float(r[3]), r[4], r[5]) for r in losses if r[0] == mine],
                     [(r[1], float(r[2] or 0), float(r[3] or 0), r[4]) for r in batches if r[0] == mine],
                     next(([int(x or 0) for x in r[1:]] for r in sums if r[0] == mine), [0] * 5))
    names = {sensor.name for sensor in world.sensors}
    check_slots(report, [row for row in query(SLOTS) if row[0] in names])
    check_numbers(report, everything)
    report.figures["forks"] = len({(r[0], r[5]) for r in batches if r[0] in names}) - len(world.sensors)
    return report


def has_packet(world, sensor, n):
    source = str(ipaddress.ip_address(traffic.source_of(n)))
    return bool(world.database.query(MARKERS, sensor.name, traffic.port_of(n), source))
