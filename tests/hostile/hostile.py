"""What hostile clients do, and what must not come of it: exact snapshots of a database, connections tapped and replayed."""
import contextlib
import socket
import threading

# What no hostile client may change. Left out: who knocked (unknown_key), alarms (audit), figures made of these tables (rollups).
TABLES = {
    "flow": "t::text", "flood": "t::text", "batch": "t::text", "ledger": "t::text", "observation": "t::text", "loss": "t::text",
    "quarantine": "t::text", "sensor": "t::text", "sensor_address": "t::text", "tcp_options": "t::text", "bundle": "t::text",
    "heartbeat": "t::text", "sensor_key": "concat_ws(' ', public_key, sensor_id, revoked_at, replaces)"}


def snapshot(postgres, tables=tuple(TABLES)):
    """{table: (rows, digest of all of them)}."""
    found = {}
    with postgres.connect() as conn, conn.cursor() as cursor:
        for table in tables:
            cursor.execute(f"select count(*), md5(coalesce(string_agg(r, E'\\n' order by r), '')) from (select {TABLES[table]} as r "
                           f"from hirundo.{table} t) rows")
            found[table] = cursor.fetchone()
    return found


def address_of(endpoint):
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    return host, int(port)


class Tap:
    """Stands between a sensor and the collector, as somebody who owns the network: keeps what the sensor sends, sends more of it.

    Has endpoint, server_key and log, so that a Peer takes it for the collector."""

    def __init__(self, collector):
        self.server_key, self.log = collector.server_key, collector.log
        self.target = address_of(collector.endpoint)
        self.chunks, self.lock, self.server, self.closed = [], threading.Lock(), None, threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "tcp://127.0.0.1:%d" % self.listening.getsockname()[1]
        self.threads = [threading.Thread(target=self._run, daemon=True)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.listening.close()
        with contextlib.suppress(OSError, AttributeError):
            self.server.close()

    def _run(self):
        """One connection."""
        with contextlib.suppress(OSError):
            client, _ = self.listening.accept()
            self.server = socket.create_connection(self.target)
            back = threading.Thread(target=self._back, args=(client,), daemon=True)
            back.start()
            while data := client.recv(1 << 20):
                with self.lock:
                    self.chunks.append(data)
                    self.server.sendall(data)

    def _back(self, client):
        with contextlib.suppress(OSError):
            while data := self.server.recv(1 << 20):
                client.sendall(data)
        self.closed.set()
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def sent(self):
        with self.lock:
            return b"".join(self.chunks)

    def inject(self, data):
        """More in the sensor's name, in its connection."""
        with self.lock:
            self.server.sendall(data)

    def replay(self, data, seconds=10):
        """The recorded bytes in a connection of their own; returns when the collector has closed it."""
        with socket.create_connection(self.target, timeout=seconds) as s:
            with contextlib.suppress(OSError):
                s.sendall(data)
                while s.recv(4096):
                    pass
