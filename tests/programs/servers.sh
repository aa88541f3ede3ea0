#!/usr/bin/env bash
# Servers under a little load, on loopback and sockets of their own. test: timeout=400 serial
source "${LOAM_SOURCE:?}/tests/programs/lib.sh" || exit 1
nginx=$(command -v nginx || echo /usr/sbin/nginx)
need redis-server redis-cli memcached curl "$nginx" python3

# wait_for FILE-TEST...: up to 20 s
wait_for() {
    for _ in $(seq 1 200); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    echo "not ready: $*"
    return 1
}

redis_session() { # preload
    rm -f redis.sock
    LD_PRELOAD=$1 redis-server --port 0 --unixsocket "$work/redis.sock" --save '' --appendonly no >redis.log 2>&1 &
    local server=$!
    wait_for redis-cli -s redis.sock ping
    awk 'BEGIN { for (i = 0; i < 30000; i++) { printf "SET k%d %s\nLPUSH l%d v%d\nHSET h%d f%d %d\n", i, \
        "value" i * i, i % 100, i, i % 500, i, i } for (i = 0; i < 30000; i += 3) printf "DEL k%d\n", i }' |
        redis-cli -s redis.sock >/dev/null
    redis-cli -s redis.sock --raw DBSIZE
    redis-cli -s redis.sock --raw LRANGE l7 0 5
    redis-cli -s redis.sock --raw HLEN h3
    redis-cli -s redis.sock --raw DEBUG DIGEST 2>/dev/null || true
    redis-cli -s redis.sock shutdown nosave || true
    wait "$server" || true
}
redis_session '' >redis.libc
redis_session "$library" >redis.loam
cmp redis.libc redis.loam

memcached_session() { # preload
    rm -f memcached.sock
    LD_PRELOAD=$1 memcached -u "$(id -un)" -s "$work/memcached.sock" -m 16 -t 4 >memcached.log 2>&1 &
    local server=$!
    wait_for test -S memcached.sock
    python3 - <<'END'
import hashlib, socket
connections = []
for n in range(8):
    s = socket.socket(socket.AF_UNIX)
    s.connect("memcached.sock")
    connections.append(s.makefile("rwb"))
def value(i): return (b"%d," % i) * (i % 700)
for i in range(20000):
    c = connections[i % 8]
    c.write(b"set k%d 0 0 %d\r\n%s\r\n" % (i % 5000, len(value(i)), value(i)))
    c.flush()
    assert c.readline() == b"STORED\r\n"
seen = 0
for i in range(19000, 20000):
    c = connections[i % 3]
    c.write(b"get k%d\r\n" % (i % 5000))
    c.flush()
    header = c.readline().split()
    if header[0] != b"END":
        body = c.read(int(header[3]) + 2)
        assert body[:-2] == value(i)
        c.readline()
        seen += 1
print(seen > 500)
END
    kill "$server"
    wait "$server" || true
}
memcached_session '' >memcached.libc
memcached_session "$library" >memcached.loam
cmp memcached.libc memcached.loam
grep -q True memcached.loam

nginx_session() { # preload
    mkdir -p www
    seq 1 50000 >www/numbers
    cat >nginx.conf <<END
daemon off; worker_processes 2; pid $work/nginx.pid; error_log $work/nginx.err;
user $(id -un);
events { worker_connections 64; }
http { access_log off; client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3;
  uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
  server { listen unix:$work/nginx.sock; root $work/www; gzip on; gzip_types text/plain; default_type text/plain; } }
END
    rm -f nginx.sock
    LD_PRELOAD=$1 "$nginx" -c "$work/nginx.conf" -e "$work/nginx.err" >nginx.log 2>&1 &
    local server=$!
    wait_for curl -s --unix-socket nginx.sock http://localhost/numbers
    for _ in $(seq 1 40); do
        curl -s --unix-socket nginx.sock --compressed http://localhost/numbers | sha256sum
    done
    curl -s -o /dev/null -w '%{http_code}\n' --unix-socket nginx.sock http://localhost/none
    kill -QUIT "$server"
    wait "$server" || true
}
nginx_session '' >nginx.libc
nginx_session "$library" >nginx.loam
cmp nginx.libc nginx.loam
grep -q 404 nginx.loam

postgres=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
need "$postgres/initdb" setpriv
postgres_session() { # preload
    rm -rf data
    mkdir data
    chmod 755 "$work"
    local as=()
    if [ "$(id -u)" = 0 ]; then
        chown postgres data
        as=(setpriv --reuid postgres --regid postgres --clear-groups)
    fi
    "${as[@]}" "$postgres/initdb" -D data -A trust -U me --no-sync >initdb.log 2>&1
    "${as[@]}" env LD_PRELOAD="$1" "$postgres/postgres" -D data -k "$work/data" -c listen_addresses='' -F >pg.log 2>&1 &
    local server=$!
    wait_for "$postgres/pg_isready" -h "$work/data"
    "$postgres/psql" -qAt -h "$work/data" -U me postgres <<'END'
create table t(a int primary key, b text);
insert into t select i, repeat(md5(i::text), 3) from generate_series(1, 50000) i;
create index on t(b);
select count(*), md5(string_agg(b, '' order by a)) from t where a % 7 = 0;
select count(*) from t x join t y on x.a = y.a + 1 where x.b > y.b;
END
    "$postgres/pgbench" -q -i -h "$work/data" -U me postgres >/dev/null 2>&1
    "$postgres/pgbench" -n -c 4 -t 200 -h "$work/data" -U me postgres 2>/dev/null | grep 'transactions actually'
    kill -INT "$server"
    wait "$server" || true
}
postgres_session '' >pg.libc
postgres_session "$library" >pg.loam
cmp pg.libc pg.loam
echo "redis, memcached, nginx and postgres alike"
