"""Real servers as objects: Postgres, Collector, Sensor. Each takes free ports and its own directory, and cleans up.

    with Postgres() as pg:
        pg.migrate(programs)
        with Collector(pg) as collector:
            ...

Programs are looked for in $HIRUNDO_BUILD (a meson build directory), else in build/ at the top of the repository.
"""
import atexit
import contextlib
import glob
import os
import pathlib
import pty
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import psycopg2

TOP = pathlib.Path(__file__).resolve().parents[2]
WAIT_S = float(os.environ.get("HIRUNDO_TEST_WAIT", "30"))


def build_directory():
    return pathlib.Path(os.environ.get("HIRUNDO_BUILD", TOP / "build")).resolve()


# libfaketime is to move the wall clock only. Without the last of these, waits until a time of the monotonic clock end at once.
REAL_MONOTONIC = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}


def program(name):
    """The path of hirundo-collector, hirundo-sensor or a test tool in the build directory."""
    build = build_directory()
    for folder in ("collector", "sensor", "tests/integration", "tests/load"):
        path = build / folder / name
        if path.exists():
            return str(path)
    raise FileNotFoundError(f"{name} is not in {build}; build first, or set HIRUNDO_BUILD")


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, what, timeout=WAIT_S):
    """Polls until condition() is true and returns its value; fails naming what was waited for. What takes long is asked for less often."""
    end, pause = time.monotonic() + timeout, 0.02
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout:.0f} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 1.1, 0.1)


class Postgres:
    """A private cluster: unix socket and 127.0.0.1, made by initdb as an unprivileged user when we are root."""

    made = {}  # (programs, user) -> what initdb made in this process; every cluster is a copy

    def __init__(self, user="postgres", settings=()):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="hirundo-pg-", dir="/var/tmp"))
        self.port = free_port()
        self.settings = list(settings)
        self.os_user = user if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.database = "hirundo"
        self.password = "only-for-tests"
        self.bin = os.environ.get("HIRUNDO_PG_BIN") or sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]

    def _run(self, *command, **options):
        account = pwd.getpwnam(self.os_user)
        identity = {} if os.geteuid() != 0 else {
            "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        done = subprocess.run(command, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False, **identity, **options)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: {done.stdout.decode(errors='replace')}")

    def _initdb(self):
        """The directory that a cluster is a copy of."""
        key = self.bin, self.os_user
        if key not in self.made:
            made = pathlib.Path(tempfile.mkdtemp(prefix="hirundo-initdb-", dir="/var/tmp"))
            atexit.register(shutil.rmtree, made, ignore_errors=True)
            if os.geteuid() == 0:
                shutil.chown(made, self.os_user)
            password_file = made / "password"
            password_file.write_text(self.password)
            password_file.chmod(0o644)
            self._run(f"{self.bin}/initdb", "-D", str(made / "data"), "-U", "hirundo_admin", "-A", "scram-sha-256", "--pwfile",
                      str(password_file), "-E", "UTF8", "--no-sync", "--locale=C")
            self.made[key] = made / "data"
        return self.made[key]

    def __enter__(self):
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.os_user)
        self._run("cp", "-a", str(self._initdb()), "data")
        with open(self.directory / "data" / "postgresql.conf", "a", encoding="utf-8") as f:
            f.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\n"
                    f"unix_socket_directories = '{self.directory}'\nmax_wal_size = 4GB\n")
            for line in self.settings:
                f.write(line + "\n")
        self.start()
        with self.connect("postgres") as conn, conn.cursor() as cursor:
            cursor.execute(f"create database {self.database}")
        return self

    def __exit__(self, *_):
        self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        self._run(f"{self.bin}/pg_ctl", "-D", "data", "-l", "log", "-w", "-t", "60", "start")

    def stop(self, mode="fast"):
        with contextlib.suppress(AssertionError):
            self._run(f"{self.bin}/pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def conninfo(self, database=None):
        return (f"host=127.0.0.1 port={self.port} dbname={database or self.database} user=hirundo_admin "
                f"password={self.password}")

    def environment(self):
        """os.environ with PG* naming this cluster."""
        return dict(os.environ, PGHOST="127.0.0.1", PGPORT=str(self.port), PGDATABASE=self.database,
                    PGUSER="hirundo_admin", PGPASSWORD=self.password)

    def connect(self, database=None):
        conn = psycopg2.connect(self.conninfo(database))
        conn.autocommit = True
        return contextlib.closing(conn)

    def query(self, sql, *values):
        """All rows of one statement."""
        with self.connect() as conn, conn.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, sql, *values):
        return self.query(sql, *values)[0][0]

    def command(self, *words, check=True, **options):
        """Runs hirundo-collector WORDS on this database."""
        done = subprocess.run([program("hirundo-collector"), *words], env=self.environment(), text=True,
                              capture_output=True, check=False, timeout=300, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"hirundo-collector {' '.join(words)}: exit {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}")
        return done

    def migrate(self):
        return self.command("migrate").stdout


def on_terminal(words, env):
    """What a program shows on its standard error where that is a terminal; it ends with 0."""
    leader, follower = pty.openpty()
    done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=follower, check=False, timeout=60)
    os.close(follower)
    try:
        shown = os.read(leader, 65536)
    except OSError:  # nothing was written
        shown = b""
    os.close(leader)
    assert done.returncode == 0, shown
    return shown


def cpu_s(pid, children=False):
    """CPU seconds of a process, with those of its ended children if asked; 0 once it is gone."""
    with contextlib.suppress(FileNotFoundError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(fields[i]) for i in (11, 12) + ((13, 14) if children else ())) / os.sysconf("SC_CLK_TCK")
    return 0.0


class Server:
    """A program that runs until stopped; its log lines can be waited for."""

    def __init__(self, command, env=None, cwd=None):
        self.command, self.env, self.cwd = command, env, cwd
        self.process, self.lines, self._reader = None, [], None

    def start(self):
        self.lines = []
        self.process = subprocess.Popen(self.command, env=self.env, cwd=self.cwd, text=True, errors="replace",
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr, self.lines), daemon=True)
        self._reader.start()
        return self

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line.rstrip("\n"))

    def log(self):
        return "\n".join(self.lines)

    def wait_log(self, pattern, timeout=WAIT_S):
        """The match of the first log line that holds pattern."""
        def found():
            for line in list(self.lines):
                match = re.search(pattern, line)
                if match:
                    return match
            if self.process.poll() is not None:
                self._reader.join(5)
                if not any(re.search(pattern, line) for line in self.lines):
                    raise AssertionError(f"ended with {self.process.returncode} before /{pattern}/:\n{self.log()}")
            return None
        return wait_for(found, f"/{pattern}/ in the log of {self.command[0]}:\n{self.log()}", timeout)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL: what a power cut does to a process."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout=WAIT_S):
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise AssertionError(f"did not end within {timeout:.0f} s of SIGTERM:\n{self.log()}") from error
        self._reader.join(5)
        return code

    def proc_status(self, name):
        """A figure of /proc/PID/status, in KiB where it is one of memory."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii", errors="replace")
        return int(re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE).group(1))

    def cpu_s(self):
        """Of the program alone; where it was started through another that became it, too."""
        return cpu_s(self.process.pid)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


class Collector(Server):
    """hirundo-collector serve on a migrated Postgres. endpoint and server_key are known once it is entered."""

    def __init__(self, postgres, lines=(), log_level="info"):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="hirundo-collector-"))
        self.conf = self.directory / "collector.conf"
        self.postgres, self.extra_lines, self.log_level = postgres, list(lines), log_level
        self.endpoint, self.server_key = "tcp://127.0.0.1:0", None
        self.conninfo = postgres.conninfo()
        super().__init__([program("hirundo-collector"), "serve", "-c", str(self.conf)])

    def configure(self):
        text = ["[collector]", f"endpoint = {self.endpoint}", f"key = {self.directory}/collector.key",
                *self.extra_lines, "[metrics]", "listen = 127.0.0.1:0", "[database]", f"connection = {self.conninfo}", "[log]",
                f"level = {self.log_level}"]
        self.conf.write_text("\n".join(text) + "\n")

    def start(self):
        """Also after a kill: the port stays the same."""
        self.configure()
        super().start()
        ready = self.wait_log(r"ready: listening on (tcp://\S+?),? .*server key (\S{40})")
        self.endpoint, self.server_key = ready.group(1), ready.group(2)
        return self

    @contextlib.contextmanager
    def hears_of_a_key(self):
        """Of what is done within to a key the collector hears a moment after the command: here it has."""
        def told():
            return sum("keys are enrolled" in line for line in self.lines)
        before = told()
        yield
        wait_for(lambda: told() > before, "the collector to hear of the key")

    def __enter__(self):
        try:
            return self.start()
        except BaseException as error:  # nobody calls __exit__ then
            self.__exit__(type(error))
            raise

    def __exit__(self, kind, *_):
        code = self.stop() if self.process and self.process.poll() is None else 0
        shutil.rmtree(self.directory, ignore_errors=True)
        if code and not kind:
            raise AssertionError(f"the collector ended with {code}:\n{self.log()}")


@contextlib.contextmanager
def held_commits(postgres):
    """Within, every commit of a batch waits until the function given is called."""
    postgres.query("create table public.gate (closed boolean); insert into public.gate values (true); "
                   "grant select on public.gate to public; create function public.wait() returns trigger language plpgsql as 'begin while "
                   "exists (select from public.gate) loop perform pg_sleep(0.01); end loop; return null; end'; "
                   "create trigger held after insert on hirundo.batch for each statement execute function public.wait()")
    try:
        yield lambda: postgres.query("delete from public.gate")
    finally:
        postgres.query("drop trigger held on hirundo.batch; drop function public.wait(); drop table public.gate")


def wait_for_commit(postgres):
    """Until one waits there."""
    wait_for(lambda: postgres.value("select count(*) from pg_stat_activity where query like 'copy hirundo.batch %'"), "a commit to wait")


class Sensor:
    """An enrolled hirundo-sensor with a spool of its own."""

    def __init__(self, collector, name, country="JP", enroll=True):
        self.collector, self.name = collector, name
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"hirundo-sensor-{name}-"))
        self.conf = self.directory / "sensor.conf"
        self.key_file = self.directory / "sensor.key"
        done = subprocess.run([program("hirundo-sensor"), "keygen", str(self.key_file)], text=True,
                              capture_output=True, check=True)
        self.public_key = re.search(r"\S{40}", done.stdout).group(0)
        if enroll:
            collector.postgres.command("sensor", "add", name, "--country", country, "--key", self.public_key)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)


def stop_on_signal():
    """Turns SIGTERM into an exception, so that context managers clean up."""
    def handler(number, frame):
        del number, frame
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, handler)


class Keys:
    """Key pairs made by hirundo-load, enrolled as sensors PREFIX-1, PREFIX-2, ..."""

    def __init__(self, postgres, count, prefix="load", enroll=True):
        """One statement enrolls them all."""
        done = subprocess.run([program("hirundo-load"), "keys", str(count)], capture_output=True, text=True,
                              check=True)
        self.pairs = [tuple(line.split()) for line in done.stdout.splitlines()]
        self.names = [f"{prefix}-{i + 1}" for i in range(count)]
        if enroll:
            with postgres.connect() as conn, conn.cursor() as cursor:
                cursor.execute(
                    "with u as (select * from unnest(%s, %s) as u(name, key)), s as (insert into hirundo.sensor (name, "
                    "country, label_en, label_ja) select name, 'JP', name, name from u returning sensor_id, name) insert "
                    "into hirundo.sensor_key (public_key, sensor_id) select decode(key, 'hex'), sensor_id from u join s "
                    "using (name)", (self.names, [z85_decode(public).hex() for public, _ in self.pairs]))
                cursor.execute("notify hirundo_keys")

    def write(self, path):
        pathlib.Path(path).write_text("".join(f"{p} {s}\n" for p, s in self.pairs))


def z85_decode(text):
    alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    out = b""
    for i in range(0, len(text), 5):
        value = 0
        for c in text[i:i + 5]:
            value = value * 85 + alphabet.index(c)
        out += value.to_bytes(4, "big")
    return out
