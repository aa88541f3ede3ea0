"""Servers under load, as rows for bench/programs. A row starts the server on the allocator, loads it from this process or
the server's own load generator, and stops it: seconds are the load's, peak memory and faults the server's.

Everything is on sockets and folders of its own; what a server needs once (a database cluster) is made by prepare()."""
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import racing

READY_SECONDS = 30


def libc():
    """Debian's redis brings jemalloc along; the C library's malloc must be put before it."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        return re.search(r"/\S*libc[.-]\S*", maps.read())[0]


class Server:
    """With-statement: a server under bench-measure, in a folder of its own."""

    def __init__(self, command, library, folder=None, stop=signal.SIGTERM):
        self.folder = folder or tempfile.mkdtemp(prefix="loam-bench-")
        self.temporary = folder is None
        self.command = [word.replace("@", self.folder) for word in command]
        self.allocator, self.stop, self.run = library, stop, None

    def __enter__(self):
        self.cost = os.path.join(self.folder, "cost")
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            [racing.built("bench-measure"), self.cost, "env", *racing.settings(self.allocator), *self.command],
            env=racing.environment(""), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        return self

    def ready(self, test):
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            if test():
                return
            time.sleep(0.02)
        raise OSError(f"{self.command[0]} did not come up")

    def child(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            return int(children.read().split()[0])

    def __exit__(self, *error):
        if self.process.poll() is None:
            os.kill(self.child(), self.stop)
        try:
            self.process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            os.kill(self.child(), signal.SIGKILL)
            self.process.wait()
        if os.path.exists(self.cost):
            with open(self.cost, encoding="ascii") as cost:
                self.run = racing.cost_of(cost.read().split())
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


def loaded(server, test, load):
    """One run: the load's seconds, the server's memory."""
    try:
        with server:
            server.ready(test)
            start = time.perf_counter()
            figures = load() or {}
            seconds = time.perf_counter() - start
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"failed": str(error)}
    if server.run is None or server.process.returncode not in (0, 128 + server.stop):
        return {"failed": f"{server.command[0]} ended with status {server.process.returncode}"}
    return dict(server.run, seconds=seconds, figures=figures)


def told(command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=racing.LONGEST_SECONDS,
                          **more).stdout


# -- redis --------------------------------------------------------------------------------------------------------------

def redis(library):
    server = Server(["redis-server", "--port", "0", "--unixsocket", "@/socket", "--save", "", "--appendonly", "no"],
                    library or libc())
    path = f"{server.folder}/socket"

    def test():
        return subprocess.run(["redis-cli", "-s", path, "ping"], capture_output=True, check=False).stdout == b"PONG\n"

    def load():
        out = told(["redis-benchmark", "-s", path, "-n", "150000", "-P", "16", "-q", "-r", "100000", "-d", "120", "-t",
                    "set,get,lpush,lrange_100,hset,sadd,zadd", "--csv"])
        return {f"{name}_per_second": float(rate) for name, rate in re.findall(r'^"([A-Z]\w+)[^"]*","([\d.]+)"', out, re.M)}

    return loaded(server, test, load)


# -- memcached and nginx: requests written ahead and sent in a pipeline -----------------------------------------------------

def pipeline(path, requests, answer_end, answers):
    """Sends each of `requests`, every time until `answers` ends of an answer have come."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(READY_SECONDS)
        connection.connect(path)
        for request in requests:
            connection.sendall(request)
            seen, tail = 0, b""
            while seen < answers:
                part = connection.recv(1 << 18)
                if not part:
                    raise OSError("the server closed the connection")
                joined = tail + part
                seen += joined.count(answer_end)
                tail = joined[-len(answer_end) + 1:]


def memcached(library):
    server = Server(["memcached", "-u", pwd.getpwuid(os.geteuid()).pw_name, "-s", "@/socket", "-m", "64", "-t", "2"],
                    library)
    store = [b"".join(b"set k%d 0 %d %d noreply\r\n%s\r\n" % (i, i % 5, i * 37 % 900, b"v" * (i * 37 % 900))
                      for i in range(start, start + 100)) + b"".join(
                          b"get k%d\r\n" % (start * 7 % 60000 + i) for i in range(100)) for start in range(0, 60000, 100)]
    path = f"{server.folder}/socket"
    return loaded(server, lambda: os.path.exists(path),
                  lambda: pipeline(path, store * 2, b"END\r\n", 100))


def nginx(library):
    conf = """daemon off; error_log @/error.log; pid @/pid; worker_processes 1; user root;
events { worker_connections 64; }
http { access_log off; keepalive_requests 100000000; gzip on; gzip_types text/plain; client_body_temp_path @/b;
  proxy_temp_path @/p; fastcgi_temp_path @/f; uwsgi_temp_path @/u; scgi_temp_path @/s;
  server { listen unix:@/socket; location / { root @; } } }"""
    server = Server(["nginx", "-p", "@", "-c", "@/nginx.conf"], library, stop=signal.SIGQUIT)
    for name, text in (("nginx.conf", conf.replace("@", server.folder)), ("page.txt", "some text of a page. " * 400)):
        with open(os.path.join(server.folder, name), "w", encoding="utf-8") as file:
            file.write(text)
    os.chmod(server.folder, 0o755)
    plain, packed = (b"GET /page.txt HTTP/1.1\r\nHost: a\r\n%s\r\n" % more for more in (b"", b"Accept-Encoding: gzip\r\n"))
    path = f"{server.folder}/socket"
    return loaded(server, lambda: os.path.exists(path),
                  lambda: pipeline(path, [plain * 16 + packed * 16] * 300, b"HTTP/1.1 200 OK", 32))


# -- PostgreSQL ---------------------------------------------------------------------------------------------------------

class Postgres:
    """One cluster for the whole race, owned by the user that the server insists on not being root."""

    def __init__(self):
        self.bin = (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [None])[-1]
        self.folder = None

    def as_user(self):
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"] if os.geteuid() == 0 else []

    def prepare(self):
        self.folder = tempfile.mkdtemp(prefix="loam-bench-pg-")
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        told([*self.as_user(), f"{self.bin}/initdb", "-D", f"{self.folder}/data", "-A", "trust", "-N"], cwd="/")
        with self.server(""):
            told(["sh", "-c", f"for i in $(seq 100); do {self.bin}/pg_isready -q -h {self.folder} && exit; sleep .1; done"])
            self.bench("-i", "-q", "-s", "2")

    def server(self, library):
        return Server([*self.as_user(), "env", *racing.settings(library), f"{self.bin}/postgres",
                       "-D", f"{self.folder}/data", "-k", self.folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                      "", folder=self.folder, stop=signal.SIGINT)

    def bench(self, *arguments):
        return told([*self.as_user(), f"{self.bin}/pgbench", "-h", self.folder, *arguments, "postgres"], cwd="/")

    def __call__(self, library):
        if not self.folder:
            self.prepare()

        def load():
            out = self.bench("-c", "4", "-j", "1", "-t", "1500") + self.bench("-c", "4", "-j", "1", "-t", "4000", "-S")
            return dict(zip(("tpcb_per_second", "select_per_second"), map(float, re.findall(r"tps = ([\d.]+)", out))))

        ready = [f"{self.bin}/pg_isready", "-q", "-h", self.folder]
        return loaded(self.server(library), lambda: subprocess.run(ready, check=False).returncode == 0, load)

    def __del__(self):
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def rows():
    """The servers that are installed."""
    found = {}
    if shutil.which("redis-server") and shutil.which("redis-benchmark"):
        found["redis"] = redis
    if shutil.which("memcached"):
        found["memcached"] = memcached
    if shutil.which("nginx") or os.path.exists("/usr/sbin/nginx"):
        os.environ["PATH"] += ":/usr/sbin"
        found["nginx"] = nginx
    postgres = Postgres()
    if postgres.bin:
        found["postgres"] = postgres
    return found
