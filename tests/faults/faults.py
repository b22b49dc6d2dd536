"""The kinds of faults, and a schedule of them that follows from a seed.

A kind is a function of (world, fault); it does the harm, waits, and takes it back. Faults overlap, but for those that
need the same thing: each kind names what it needs, and waits until it has it.
"""
import contextlib
import os
import random
import signal
import threading
import time

KINDS = {}


class Kind:
    def __init__(self, name, run, weight, needs, seconds, may_be_long):
        self.name, self.run, self.weight, self.needs = name, run, weight, needs
        self.seconds, self.may_be_long = seconds, may_be_long


def kind(name, needs, weight=2, seconds=(0.2, 6), may_be_long=False):
    """needs: words with {s} for a sensor, {c} for a collector."""
    def add(run):
        KINDS[name] = Kind(name, run, weight, needs.split(), seconds, may_be_long)
        return run
    return add


class Fault:
    def __init__(self, rng, kind_name, at, long, world_shape):
        self.kind, self.at = KINDS[kind_name], at
        low, high = self.kind.seconds
        self.seconds = rng.uniform(32, 42) if long else rng.uniform(low, high)
        self.sensor = rng.choice(world_shape.clocks if "clock" in self.kind.needs[0] else range(world_shape.sensors))
        self.collector = rng.randrange(world_shape.collectors)
        self.draw = rng.random()  # the kind's own choice
        self.resources = sorted(word.format(s=self.sensor, c=self.collector) for word in self.kind.needs)
        self.began = self.error = None

    def __str__(self):
        return (f"{self.at:6.2f} s: {self.kind.name} ({' '.join(self.resources)}) for {self.seconds:.2f} s, "
                f"draw {self.draw:.4f}")


class Shape:
    def __init__(self, sensors, collectors, clocks):
        self.sensors, self.collectors, self.clocks = sensors, collectors, clocks


def plan(seed, count, shape, every_s=1.7, longs_within_s=3.0):
    """count faults, one in every_s on average; one in twenty lasts longer than every timeout, and begins among the first."""
    rng = random.Random(seed)
    span = max(12.0, count * every_s)
    names = sorted(KINDS)
    weights = [KINDS[name].weight for name in names]
    faults = []
    longs = max(1, count // 20)
    able = [name for name in names if KINDS[name].may_be_long]
    for i in range(count):
        long = i < longs
        name = rng.choice(able) if long else rng.choices(names, weights)[0]
        at = rng.uniform(0, longs_within_s if long else span)
        faults.append(Fault(rng, name, at, long, shape))
    return sorted(faults, key=lambda f: f.at)


class Runner:
    """Runs a plan against a world; each fault has a thread."""

    def __init__(self, world, faults, say):
        self.world, self.faults, self.say = world, faults, say
        self.locks = {}
        for fault in faults:
            for resource in fault.resources:
                self.locks.setdefault(resource, threading.Lock())

    def run(self):
        start = time.monotonic()
        threads = []
        for fault in self.faults:
            thread = threading.Thread(target=self._one, args=(fault, start), daemon=True)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        return [f"{fault.kind.name}: {fault.error}" for fault in self.faults if fault.error]

    def _one(self, fault, start):
        time.sleep(max(0, start + fault.at - time.monotonic()))
        with contextlib.ExitStack() as stack:
            for resource in fault.resources:
                stack.enter_context(self.locks[resource])
            fault.began = time.time()
            try:
                fault.kind.run(self.world, fault)
            except Exception as error:  # pylint: disable=broad-except
                fault.error = repr(error)
            self.say(f"{fault} began {fault.began:.3f}, ended {time.time():.3f}")


@contextlib.contextmanager
def taken(process):
    """The supervisor leaves it alone."""
    with process.lock:
        yield process


# --- processes

def kill_and_start(process, seconds):
    with taken(process):
        process.kill()
        time.sleep(seconds)
        process.start()


def end_and_start(process, seconds):
    with taken(process):
        process.end()
        time.sleep(seconds)
        process.start()


def stop_and_continue(process, seconds):
    with taken(process):
        if process.running():
            process.signal(signal.SIGSTOP)
            time.sleep(seconds)
            process.signal(signal.SIGCONT)


@kind("sensor killed", "sensor{s}", weight=4, seconds=(0, 2.5))
def sensor_killed(world, f):
    kill_and_start(world.sensors[f.sensor], f.seconds)


@kind("sensor restarted", "sensor{s}", seconds=(0, 2))
def sensor_restarted(world, f):
    end_and_start(world.sensors[f.sensor], f.seconds)


@kind("sensor stopped", "sensor{s}", may_be_long=True)
def sensor_stopped(world, f):
    stop_and_continue(world.sensors[f.sensor], f.seconds)


@kind("collector killed", "collector{c}", weight=4, seconds=(0, 3))
def collector_killed(world, f):
    kill_and_start(world.collectors[f.collector], f.seconds)


@kind("collector restarted", "collector{c}", seconds=(0, 2))
def collector_restarted(world, f):
    end_and_start(world.collectors[f.collector], f.seconds)


@kind("collector stopped", "collector{c}", may_be_long=True)
def collector_stopped(world, f):
    stop_and_continue(world.collectors[f.collector], f.seconds)


# --- the network

@kind("connection cut", "link{s}.{c}", weight=3, seconds=(0, 5))
def connection_cut(world, f):
    link = world.links[f.sensor][f.collector]
    link.refuse = True
    link.cut()
    time.sleep(f.seconds)
    link.refuse = False


@kind("connection stalled", "link{s}.{c}", may_be_long=True)
def connection_stalled(world, f):
    """Half of them are cut in the end, with what was under way."""
    link = world.links[f.sensor][f.collector]
    link.hold(True, True)
    time.sleep(f.seconds)
    if f.draw < 0.5:
        link.cut()
        time.sleep(0.1)
    link.hold(False, False)


@kind("acks lost", "link{s}.{c}", weight=3, may_be_long=True)
def acks_lost(world, f):
    """What goes up is committed; what comes back never arrives."""
    link = world.links[f.sensor][f.collector]
    link.hold(False, True)
    time.sleep(f.seconds)
    link.cut()
    time.sleep(0.1)
    link.hold(False, False)


@kind("all connections cut", "collector{c}.links", weight=1, seconds=(0, 4))
def all_cut(world, f):
    links = [links[f.collector] for links in world.links]
    for link in links:
        link.refuse = True
        link.cut()
    time.sleep(f.seconds)
    for link in links:
        link.refuse = False


# --- the database and what lies before it

@kind("database connection cut", "dblink{c}", seconds=(0, 4))
def database_cut(world, f):
    route = world.collectors[f.collector].to_database
    route.refuse = True
    route.cut()
    time.sleep(f.seconds)
    route.refuse = False


@kind("database connection stalled", "dblink{c}", may_be_long=True)
def database_stalled(world, f):
    route = world.collectors[f.collector].to_database
    route.hold(True, True)
    time.sleep(f.seconds)
    if f.draw < 0.5:
        route.cut()
        time.sleep(0.1)
    route.hold(False, False)


@kind("commits unheard", "dblink{c}", weight=3, seconds=(0.2, 4))
def commits_unheard(world, f):
    """The transaction reaches the database, its answer does not come back."""
    route = world.collectors[f.collector].to_database
    route.hold(False, True)
    time.sleep(f.seconds)
    route.cut()
    time.sleep(0.1)
    route.hold(False, False)


@kind("database process killed", "database", seconds=(0, 0.5))
def database_process_killed(world, f):
    """Any process of PostgreSQL's: all others start anew, from the log."""
    database = world.database
    with taken(database):
        if database.running():
            pids = database.processes()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[int(f.draw * len(pids))], signal.SIGKILL)
        time.sleep(f.seconds)


@kind("database restarted", "database", seconds=(0, 5), may_be_long=True)
def database_restarted(world, f):
    database = world.database
    with taken(database):
        database.stop("fast" if f.draw < 0.5 else "immediate")
        time.sleep(f.seconds)
        database.launch()


@kind("database frozen", "database", may_be_long=True)
def database_frozen(world, f):
    database = world.database
    with taken(database):
        if not database.running():
            return
        database.signal_all(signal.SIGSTOP)
        time.sleep(f.seconds)
        database.signal_all(signal.SIGCONT)


@kind("database restored", "database", weight=2, seconds=(3, 10))
def database_restored(world, f):
    """From a backup that was made some seconds before."""
    database = world.database
    path = world.directory / f"backup{f.at:.3f}"
    with taken(database):
        database.wait_up(database.database)
        database.dump(path)
    time.sleep(f.seconds)
    with taken(database):
        database.wait_up(database.database)
        database.restore(path, aside=f.draw < 0.5)


@kind("database's disk full", "database", weight=1, seconds=(0.5, 5))
def database_disk_full(world, f):
    world.database.disk.fill()
    time.sleep(f.seconds)
    world.database.disk.free()
    with taken(world.database):
        if world.database.running():
            return
        world.database.start()


# --- the spool

@kind("spool's disk full", "disk{s}", weight=3, seconds=(1, 8), may_be_long=True)
def spool_disk_full(world, f):
    disk = world.sensors[f.sensor].disk
    disk.fill()
    time.sleep(f.seconds)
    disk.free()


def damage(path, draw):
    rng = random.Random(draw)
    size = path.stat().st_size
    with open(path, "r+b") as f:
        if rng.random() < 0.3:
            f.truncate(rng.randrange(size + 1))
            return
        for _ in range(rng.choice((1, 8, 64))):
            f.seek(rng.randrange(max(1, size)))
            f.write(bytes([rng.randrange(256)]))


@kind("spool damaged", "sensor{s} disk{s}", weight=2, seconds=(0, 1))
def spool_damaged(world, f):
    """Bytes of the file or of its log changed, the end cut off, or the file gone."""
    sensor = world.sensors[f.sensor]
    with taken(sensor):
        sensor.kill()
        files = [p for p in sorted(sensor.spool.parent.glob("spool.db*")) if p.suffix in (".db", ".db-wal")]
        if files:
            path = files[int(f.draw * 997) % len(files)]
            if f.draw < 0.1:
                path.unlink()
            else:
                damage(path, f.draw)
        time.sleep(f.seconds)
        sensor.start()


@kind("old copy of a spool", "sensor{s} disk{s} database", weight=2, seconds=(1, 8))
def old_copy(world, f):
    """The machine is set back to a snapshot."""
    sensor = world.sensors[f.sensor]
    with taken(sensor):
        sensor.copy_spool()
    time.sleep(f.seconds)
    if not sensor.copies:
        return
    with taken(sensor):
        sensor.kill()
        sensor.restore_spool(sensor.copies[-1])
        sensor.start()


# --- clocks, load

@kind("sensor's clock wrong", "clock{s} sensor{s}", weight=2, seconds=(1, 6))
def sensor_clock(world, f):
    clock = world.sensors[f.sensor].clock
    clock.set(int((f.draw - 0.5) * 7200))
    time.sleep(f.seconds)
    clock.set(0)


@kind("collector's clock wrong", "clock-of-collector", weight=1, seconds=(1, 6))
def collector_clock(world, f):
    clock = world.collectors[1].clock
    clock.set(int((f.draw - 0.5) * 7200))
    time.sleep(f.seconds)
    clock.set(0)


@kind("burst of packets", "burst{s}", weight=1, seconds=(0, 0.1))
def burst(world, f):
    world.traffic.burst(f.sensor, 2000 + int(f.draw * 18000))
