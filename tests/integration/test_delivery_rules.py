"""Rules of delivery whose answer only a collector with its database gives."""
import contextlib
import threading

import hirundo
import poison
from peer import Peer, message


def counts(postgres, name):
    """Rows of flow, batches by outcome, losses by kind with their frames, what the books do not explain."""
    rows = postgres.value("select count(*) from hirundo.flow join hirundo.sensor using (sensor_id) where name = %s", name)
    outcomes = dict(postgres.query("select outcome, count(*) from hirundo.batch join hirundo.sensor using (sensor_id) "
                                   "where name = %s group by 1", name))
    losses = postgres.query("select seq, kind, frames from hirundo.loss join hirundo.sensor using (sensor_id) "
                            "where name = %s order by 1", name)
    off = postgres.value("select coalesce(sum(abs(frames - row_packets - flood_packets - non_ip - malformed - quarantined "
                         "- lost)), 0) from hirundo.observation join hirundo.sensor using (sensor_id) where name = %s", name)
    return rows, outcomes, losses, int(off)


def loss_of(spool, numbers):
    """One loss message for consecutive numbers, each with the windows of the batch that message() makes."""
    header, payload = message("loss", numbers[0], spool)
    item = poison.parse(payload)[0][1]
    items = [(1, poison.build([(f, seq if f in (1, 2) else v) for f, v in poison.parse(item)])) for seq in numbers]
    return poison.sealed(header, poison.build(items), numbers[0])


def test_committed_but_unacknowledged_batches_in_a_loss_message_count_once(postgres, collector, enrolled):
    """Their ack was lost, and they had to make room in the spool: the ledger knows them, only the others are lost."""
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        for seq in (1, 2):
            peer.deliver(seq)
        peer.send(*loss_of(peer.spool, [1, 2, 3, 4]))
        peer.wait_ack(4)
        peer.send(*loss_of(peer.spool, [1, 2, 3, 4]))
        peer.wait_ack(4)
        peer.deliver(5)
    rows, outcomes, losses, off = counts(postgres, name)
    assert (rows, outcomes, off) == (30, {"committed": 3, "lost": 2}, 0)
    assert [(seq, kind) for seq, kind, _ in losses] == [(3, "lost"), (4, "lost")]
    assert all(frames > 0 for _, _, frames in losses)


def test_batches_that_were_declared_lost_and_come_together_after_all_are_old_news(postgres, collector, enrolled):
    """They are looked up together, and the ledger has no digest of them to compare with."""
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.deliver(1)
        peer.send(*loss_of(peer.spool, [2, 3, 4]))
        peer.wait_ack(4)
        with hirundo.held_commits(postgres) as let_go:
            peer.send_message("batch", 5)
            hirundo.wait_for_commit(postgres)
            for seq in (2, 3, 4):
                peer.send_message("batch", seq)
            peer.send_message("ping", 0)
            peer.wait_reply("pong")
            let_go()
        for _ in range(4):
            assert peer.wait_reply("ack").committed_through == 5
    rows, outcomes, losses, off = counts(postgres, name)
    assert (rows, outcomes, len(losses), off) == (20, {"committed": 2, "lost": 3}, 3, 0)


def test_two_collectors_meet_on_one_ledger_row(postgres, collector, enrolled):
    """The same numbers to both at the same moment, again and again: each is in once, and both acknowledge it."""
    name, pair = enrolled()
    numbers = 25
    with hirundo.Collector(postgres) as other, Peer(collector, pair) as here, \
            Peer(other, pair, spool=here.spool) as there:
        batches = [message("batch", seq, here.spool, seed=seq) for seq in range(1, numbers + 1)]
        for peer in (here, there):
            peer.send_message("ping", 0)
            peer.wait_reply("pong")
        together = threading.Barrier(2)
        failures = []

        def deliver(peer):
            try:
                for seq, frames in enumerate(batches, 1):
                    together.wait(hirundo.WAIT_S)
                    peer.send(*frames)
                    peer.wait_ack(seq)
            except Exception as error:  # pylint: disable=broad-except
                failures.append(error)
                together.abort()

        threads = [threading.Thread(target=deliver, args=(peer,)) for peer in (here, there)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
    assert counts(postgres, name) == (numbers * 10, {"committed": numbers}, [], 0)


def test_number_behind_what_another_collector_committed_is_taken(postgres, collector, enrolled):
    """What seems missing here was taken there: looked up, not asked for."""
    name, pair = enrolled()
    with hirundo.Collector(postgres) as other, Peer(collector, pair) as here, \
            Peer(other, pair, spool=here.spool) as there:
        here.deliver(1)
        for seq in (2, 3, 4):
            there.deliver(seq)
        here.send_message("batch", 5)
        reply = here.receive()
        assert (reply.kind, reply.committed_through) == ("ack", 5)
    assert counts(postgres, name) == (50, {"committed": 5}, [], 0)


def test_database_set_back_is_refilled_from_where_it_stands(postgres, collector, enrolled):
    """The ledger says less than was acknowledged: the number it wants is asked for, and the rest comes again."""
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        for seq in range(1, 6):
            peer.deliver(seq)
        for table in ("flow", "flood", "observation", "batch"):
            postgres.query(f"delete from hirundo.{table} where sensor_id = (select sensor_id from hirundo.sensor where "
                           "name = %s)", name)
        postgres.query("update hirundo.ledger set next_seq = 1, from_seq = 1 where spool_id = %s", peer.spool.hex())
        peer.send_message("batch", 6)
        nack = peer.wait_reply("nack")
        assert (nack.reason, nack.expected_seq) == ("gap", 1)
        for seq in range(1, 7):
            peer.deliver(seq)
    assert counts(postgres, name) == (60, {"committed": 6}, [], 0)


def test_batch_that_comes_again_under_another_spool_counts_once(postgres, collector, enrolled):
    """A machine was set back to a copy of itself after a fork, and the database too: what two of its lives have delivered
    is told by its digest. What is new comes in, and a batch that one life had to drop is not lost where the other kept it."""
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        for seq in (1, 2):
            peer.send_message("batch", seq, seed=seq)
            peer.wait_ack(seq)
        peer.send_message("loss", 3, seed=3)
        peer.wait_ack(3)
    with Peer(collector, pair) as peer:
        for seq, (kind, seed) in enumerate([("batch", 2), ("loss", 1), ("batch", 3), ("loss", 3), ("batch", 4), ("loss", 5)], 1):
            peer.send(*message(kind, seq, peer.spool, seed=seed))
            peer.wait_ack(seq)
        peer.send(*message("batch", 1, peer.spool, seed=2))  # a duplicate is compared as any other
        peer.wait_ack(6)
        peer.send(*message("batch", 1, peer.spool, seed=9))
        assert peer.wait_reply("nack").reason == "fork"
    rows, outcomes, losses, off = counts(postgres, name)
    assert (rows, outcomes, off) == (30, {"committed": 3, "lost": 2, "known": 4}, 0)
    assert [seq for seq, _, _ in losses] == [3, 6]


def test_many_batches_that_come_again_at_once_count_once(postgres, collector, enrolled):
    """A backlog of a machine that was set back: what waits together is looked up together. Some are new, two are the same."""
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        for seq in range(1, 21):
            peer.send_message("batch", seq, seed=seq)
        peer.wait_ack(20)
    with Peer(collector, pair) as peer:
        peer.deliver(1, seed=100)  # by now it has two spools
        seeds = [101, *range(1, 21), 102, 103]
        for seq, seed in enumerate(seeds, 2):
            peer.send(*message("batch", seq, peer.spool, seed=seed))
        peer.wait_ack(1 + len(seeds))
    with Peer(collector, pair) as peer:
        for seq, seed in enumerate([101, 104, 20, 103, 105], 1):
            peer.send(*message("batch", seq, peer.spool, seed=seed))
        peer.wait_ack(5)
    rows, outcomes, losses, off = counts(postgres, name)
    assert (rows, outcomes, losses, off) == (260, {"committed": 26, "known": 23}, [], 0)


def test_backlogs_of_sensors_with_several_spools_are_looked_up_together(postgres, enrolled):
    """After a restart of the collector, and also what is left for a second commit: not one query for each batch."""
    pairs = [enrolled()[1] for _ in range(3)]
    postgres.query("alter role hirundo_admin set log_statement = 'all'")
    try:
        with hirundo.Collector(postgres, lines=["writers = 1"]) as collector:
            for pair in pairs:
                with Peer(collector, pair) as peer:
                    peer.deliver(1)
        with hirundo.Collector(postgres, lines=["writers = 1"]) as collector, contextlib.ExitStack() as stack:
            first, *others = (stack.enter_context(Peer(collector, pair)) for pair in pairs)
            backlogs = [[message("batch", seq, peer.spool, seed=seq + 1, flows=5000) for seq in range(1, 9)] for peer in others]
            with hirundo.held_commits(postgres) as let_go:
                first.send_message("batch", 1, seed=9)
                hirundo.wait_for_commit(postgres)
                for peer, backlog in zip(others, backlogs):
                    for frames in backlog:
                        peer.send(*frames)
                    peer.send_message("ping", 0)
                    peer.wait_reply("pong")
                logged = (postgres.directory / "log").stat().st_size
                let_go()
                for peer in others:
                    peer.wait_ack(8)
    finally:
        postgres.query("alter role hirundo_admin reset log_statement")
    with open(postgres.directory / "log", encoding="utf-8", errors="replace") as f:
        f.seek(logged)
        log = f.read()
    assert log.count("copy hirundo.flow ") == 4
    assert log.count("execute elsewhere: ") == 4
    assert log.count("select exists (select 1 from hirundo.batch ") == 0


def damaged(frames):
    """The same message with a payload that its header's digest does not fit."""
    header, payload = frames
    return [header, payload[:50] + bytes([payload[50] ^ 1]) + payload[51:]]


def test_sound_copy_of_a_damaged_batch_comes_in(postgres, collector, enrolled):
    """What lies in quarantine because it was damaged is not the batch that its header names: under another spool the
    sound one is new, and under its own number it is other data, which the sensor then moves to a spool of its own."""
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        peer.send(*damaged(message("batch", 1, peer.spool, seed=1)))
        peer.wait_ack(1)
        peer.deliver(2, seed=2)
        peer.send(*message("batch", 1, peer.spool, seed=1))
        nack = peer.wait_reply("nack")
        assert (nack.reason, nack.expected_seq) == ("fork", 1)
    with Peer(collector, pair) as peer:
        for seq in (1, 2, 1):
            peer.send(*message("batch", seq, peer.spool, seed=seq))
            peer.wait_ack(seq)
    rows, outcomes, losses, off = counts(postgres, name)
    assert (rows, outcomes, losses, off) == (20, {"quarantined": 1, "committed": 2, "known": 1}, [], 0)


def test_lost_item_with_impossible_times_is_refused_where_it_enters(postgres, collector, enrolled):
    """Not by the database half way: the log says nothing of it, and quarantine names the limit."""
    name, pair = enrolled()
    with Peer(collector, pair) as peer:
        header, payload = message("loss", 1, peer.spool)
        item = poison.parse(payload)[0][1]
        far = [(f, 2 * 500000 * 31557600000 if f == 5 else v) for f, v in poison.parse(item)]
        assert far != poison.parse(item)
        peer.send(*poison.sealed(header, poison.build([(1, poison.build(far))]), 1))
        peer.wait_ack(1)
        peer.deliver(2)
    assert "accept_ahead" in postgres.value(
        "select reason from hirundo.quarantine join hirundo.sensor using (sensor_id) where name = %s", name)
