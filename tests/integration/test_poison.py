"""Poison from a properly enrolled key: put aside or refused in bounded memory, and the good batches behind it arrive."""
import os
import time

import pytest

import hirundo
import poison
from peer import Peer, message

# ./tests/run integration takes some, HIRUNDO_TEST_POISON as many as it says.
MUTATIONS = int(os.environ.get("HIRUNDO_TEST_POISON", "2000"))
RSS_MAX_KIB = 160 << 10  # the collector's budget for waiting messages is 64 MiB, beside it some MiB for each writer
if "asan" in str(hirundo.build_directory()):
    RSS_MAX_KIB = 1 << 30  # the sanitizers keep what was freed


def state(postgres, peer):
    """Batches by outcome; whether the books add up."""
    outcomes = dict(postgres.query("select outcome, count(*) from hirundo.batch where spool_id = %s group by 1",
                                   peer.spool.hex()))
    off = postgres.value("select coalesce(sum(abs(frames - row_packets - flood_packets - non_ip - malformed - quarantined "
                         "- lost)), 0) from hirundo.observation o where sensor_id = (select max(sensor_id) from "
                         "hirundo.batch where spool_id = %s)", peer.spool.hex())
    return outcomes, int(off)


def flow_rows(postgres, name):
    return postgres.value("select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name = %s", name)


def test_fuzzed_batches(postgres, collector, enrolled):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        header, payload = message("batch", 1, peer.spool, flows=100)
        begin, seq, good = time.monotonic(), 0, 0
        while seq < MUTATIONS:
            for _ in range(40):
                seq += 1
                peer.send(*poison.sealed(header, poison.mutation(payload, seq), seq))
            seq, good = seq + 1, good + 1
            peer.send(*poison.sealed(header, payload, seq))
            peer.wait_ack(seq)
        elapsed = time.monotonic() - begin
        outcomes, off = state(postgres, peer)
    rss = collector.proc_status("VmHWM")
    print(f"{seq} batches, {outcomes}, {elapsed:.1f} s, {collector.proc_status('VmHWM')} KiB")
    assert sum(outcomes.values()) == seq and outcomes["committed"] >= good
    assert outcomes["quarantined"] > MUTATIONS / 2
    assert off == 0
    assert flow_rows(postgres, name) >= good * 100
    assert rss < RSS_MAX_KIB


def hostile(what, header, payload):
    """What is wrong in one way: the header it is sealed with, its payload, changes of the header."""
    batch = poison.Batch(payload)
    columns = batch.columns
    if what == "a billion rows":
        batch.counts[poison.FLOWS] = 10 ** 9
    elif what == "four billion windows":
        batch.counts[poison.WINDOWS] = 2 ** 32 - 1
    elif what == "one row more":
        batch.counts[poison.FLOWS] += 1
    elif what == "one row less":
        batch.counts[poison.FLOWS] -= 1
    elif what == "zstd bomb":
        return header, batch.payload(columns=poison.bomb(1000 << 10)), {}
    elif what == "zstd bomb that says its size":
        return header, batch.payload(columns=poison.bomb(1000 << 10), lengths=[1 << 31] * 18), {}
    elif what == "columns of 4 GiB each":
        return header, batch.payload(lengths=[2 ** 32 - 1] * 18), {}
    elif what == "a million columns":
        return header, batch.payload(lengths=[0] * 1000000), {}
    elif what == "year 586524":
        at = 18508000000000020000 // 1000 // 60000 * 60000
        return *message("batch", 1, bytes(dict(poison.parse(header))[2]), flows=100, from_ms=at), {}
    elif what == "header in year 586524":
        return header, payload, {"first": 2 ** 63 - 60000, "last": 2 ** 63 - 1}
    elif what == "header before time":
        return header, payload, {"first": -2 ** 63, "last": 0}
    elif what == "frames that are not there":
        return header, payload, {"frames": 2 ** 64 - 1}
    elif what == "a dictionary of 200,000 addresses":
        columns[2] = b"".join(b"\x04" + i.to_bytes(4, "big") for i in range(200000))
    elif what == "a dictionary of 100,000 tuples":
        columns[4] = b"\x01" + columns[4][1:] * 30000
    elif what == "a window of 10^18 runs":
        columns[0] = poison.varint(poison.zigzag(1675836000000)) + poison.varint(10 ** 18) + columns[0][8:]
    elif what == "an empty batch":
        return header, poison.build([(poison.WINDOW_MS, 60000)]), {}
    elif what == "no payload":
        return header, b"", {}
    elif what == "a megabyte of noise":
        return header, os.urandom(1 << 20), {}
    elif what == "a megabyte of fields":
        return header, b"\x30\x01" * (1 << 19), {}
    return header, batch.payload(), {}


HOSTILE = ["a billion rows", "four billion windows", "one row more", "one row less", "zstd bomb",
           "zstd bomb that says its size", "columns of 4 GiB each", "a million columns", "year 586524",
           "header in year 586524", "header before time", "frames that are not there",
           "a dictionary of 200,000 addresses", "a dictionary of 100,000 tuples", "a window of 10^18 runs",
           "an empty batch", "no payload", "a megabyte of noise", "a megabyte of fields"]


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_batches(postgres, collector, enrolled, what):
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        header, payload = message("batch", 1, peer.spool, flows=100)
        peer.deliver(1, flows=100)
        before = collector.proc_status("VmHWM")
        bad_header, bad_payload, change = hostile(what, header, payload)
        begin = time.monotonic()
        for seq in range(2, 22, 2):
            peer.send(*poison.sealed(bad_header, bad_payload, seq, **change))
            peer.send(*poison.sealed(header, payload, seq + 1))
            peer.wait_ack(seq + 1)
        print(f"{what}: 10 in {time.monotonic() - begin:.2f} s, peak RSS {before} -> {collector.proc_status('VmHWM')} KiB")
        outcomes, off = state(postgres, peer)
    assert outcomes == {"committed": 11, "quarantined": 10}
    assert off == 0
    assert flow_rows(postgres, name) == 1100
    assert collector.proc_status("VmHWM") < RSS_MAX_KIB


def test_more_at_once_than_the_server_has_memory_for_is_taken_apart(postgres, enrolled):
    """As where the days of a group take more locks than there are."""
    name, pair = enrolled()
    postgres.query("create function public.no_two() returns trigger language plpgsql as 'begin if (select count(*) > 1 from n) then "
                   "raise exception ''out of shared memory'' using errcode = ''53200''; end if; return null; end'; "
                   "create trigger no_two after insert on hirundo.batch referencing new table as n for each statement execute function public.no_two()")
    try:
        with hirundo.Collector(postgres) as collector, Peer(collector, pair) as peer:
            with postgres.connect() as conn, conn.cursor() as cursor:
                cursor.execute("begin; lock table hirundo.batch in share mode")  # so that there are some at once
                for seq in range(1, 17):
                    peer.send_message("batch", seq)
                peer.send_message("ping", 0)
                peer.wait_reply("pong")
                cursor.execute("commit")
            peer.wait_ack(16)
    finally:
        postgres.query("drop trigger no_two on hirundo.batch; drop function public.no_two()")
    assert flow_rows(postgres, name) == 16 * 10
    assert postgres.value("select count(*) from hirundo.quarantine join hirundo.sensor using (sensor_id) where name = %s", name) == 0
