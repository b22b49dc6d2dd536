"""A TCP proxy whose routes can be cut and stalled, each direction by itself. One thread for all of them.

    proxy = Proxy(); route = proxy.route(target_port)
    route.cut()                    every connection is reset
    route.refuse = True            so is every new one
    route.hold_up = True           nothing passes from who connects to the target (route.hold_down: back)
"""
import contextlib
import selectors
import socket
import struct
import threading

CHUNK = 65536
HELD_MAX = 1 << 20


class Pipe:
    """One direction of one connection."""

    def __init__(self, source, sink):
        self.source, self.sink, self.data, self.ended = source, sink, b"", False


class Connection:
    def __init__(self, route, client, server):
        self.route, self.client, self.server = route, client, server
        self.up, self.down = Pipe(client, server), Pipe(server, client)

    def close(self, reset):
        for sock in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()


class Route:
    def __init__(self, proxy, target):
        self.proxy, self.target = proxy, target
        self.refuse = self.hold_up = self.hold_down = False
        self.cut_asked = False
        self.bytes_up = 0  # from who connects to the target
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]

    def cut(self):
        self.cut_asked = True
        self.proxy.wake()

    def hold(self, up, down):
        self.hold_up, self.hold_down = up, down
        self.proxy.wake()


class Proxy:
    def __init__(self):
        self.routes, self.connections = [], []
        self.stopping = False
        self.lock = threading.Lock()
        self.ear, self.mouth = socket.socketpair()
        self.ear.setblocking(False)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def route(self, target):
        made = Route(self, target)
        with self.lock:
            self.routes.append(made)
        self.wake()
        return made

    def wake(self):
        with contextlib.suppress(OSError):
            self.mouth.send(b"!")

    def close(self):
        self.stopping = True
        self.wake()
        self.thread.join()

    def _run(self):
        while not self.stopping:
            with self.lock:
                routes = list(self.routes)
            self._cut(routes)
            for key in self._wait(routes):
                self._serve(key.data)
        for connection in self.connections:
            connection.close(True)
        for route in self.routes:
            route.listener.close()

    def _cut(self, routes):
        for route in routes:
            if route.cut_asked:
                route.cut_asked = False
                for connection in [c for c in self.connections if c.route is route]:
                    self._drop(connection, True)

    def _drop(self, connection, reset):
        connection.close(reset)
        if connection in self.connections:
            self.connections.remove(connection)

    def _wait(self, routes):
        with selectors.DefaultSelector() as selector:
            selector.register(self.ear, selectors.EVENT_READ, ("ear", None))
            for route in routes:
                selector.register(route.listener, selectors.EVENT_READ, ("accept", route))
            for c in self.connections:
                events = {c.client: 0, c.server: 0}
                for pipe, held in ((c.up, c.route.hold_up), (c.down, c.route.hold_down)):
                    if not held and not pipe.ended and len(pipe.data) < HELD_MAX:
                        events[pipe.source] |= selectors.EVENT_READ
                    if not held and pipe.data:
                        events[pipe.sink] |= selectors.EVENT_WRITE
                for sock, mask in events.items():
                    if mask:
                        selector.register(sock, mask, ("move", c))
            return [key for key, _ in selector.select(1)]

    def _serve(self, what):
        kind, item = what
        if kind == "ear":
            with contextlib.suppress(OSError):
                self.ear.recv(4096)
        elif kind == "accept":
            self._accept(item)
        elif item in self.connections:
            self._move(item)

    def _accept(self, route):
        with contextlib.suppress(OSError):
            client, _ = route.listener.accept()
            server = socket.socket()
            connection = Connection(route, client, server)
            if route.refuse:
                connection.close(True)
                return
            try:
                server.connect(("127.0.0.1", route.target))
            except OSError:
                connection.close(True)
                return
            for sock in (client, server):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(connection)

    def _move(self, connection):
        route = connection.route
        for pipe, held in ((connection.up, route.hold_up), (connection.down, route.hold_down)):
            if held:
                continue
            try:
                if not pipe.ended and len(pipe.data) < HELD_MAX:
                    data = pipe.source.recv(CHUNK)
                    pipe.data += data
                    route.bytes_up += len(data) if pipe is connection.up else 0
                    pipe.ended = not data
            except BlockingIOError:
                pass
            except OSError:
                self._drop(connection, True)
                return
            try:
                if pipe.data:
                    pipe.data = pipe.data[pipe.sink.send(pipe.data):]
            except BlockingIOError:
                pass
            except OSError:
                self._drop(connection, True)
                return
        if any(pipe.ended and not pipe.data for pipe in (connection.up, connection.down)):
            self._drop(connection, False)
