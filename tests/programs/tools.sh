#!/usr/bin/env bash
# Everyday tools on real inputs. test: timeout=300
source "${LOAM_SOURCE:?}/tests/programs/lib.sh" || exit 1
need git xz zstd jq openssl sqlite3 sort tar find sed make file awk

export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
cat >history.sh <<'END'
rm -rf repository && git init -q repository && cd repository && git config gc.auto 0
for i in $(seq 1 30); do seq 1 $((i * 100)) >"file$((i % 7))"; git add -A; git commit -qm "change $i"; done
git gc -q --prune=now && git fsck 2>&1 && git log --stat | sha256sum && git rev-parse HEAD
END
same git bash history.sh
seq 1 300000 >numbers
same sort sort -r --parallel=4 -S 1M numbers
same sed sed -E 's/([0-9])([0-9])/\2\1/g' numbers
same xz sh -c 'xz -T2 -6 -c numbers | xz -d | cmp - numbers && xz -T1 -c numbers | sha256sum'
same zstd sh -c 'zstd -q -T2 -12 -c numbers | zstd -q -d | sha256sum'
awk '{ printf("%s{\"n\":%d,\"s\":\"%d\"}", (NR > 1 ? "," : "["), $1, $1) } END { print "]" }' numbers >numbers.json
same jq jq -c 'map(select(.n % 3 == 0) | .s) | (length, .[5:9])' numbers.json
same openssl openssl dgst -sha512 numbers
same tar sh -c 'tar --sort=name --mtime=@0 --owner=0 --group=0 -cf - numbers history.sh | sha256sum'
same find find /usr/include -name '*.h' -newermt 2000-01-01
same file file /bin/sh /etc/passwd numbers.json
cat >Makefile <<'END'
all: $(addprefix t,$(shell seq 1 300))
t%:
	@echo $* $(words $(shell seq 1 $*))
END
same make make all
cat >query.sql <<'END'
create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
insert into t select i, 'text ' || i, i / 3.0 from n;
create index tb on t(b);
select count(*), sum(length(b)), round(sum(c), 3) from t where b like '%9%';
select b, count(*) from t group by substr(b, 1, 7) order by 2 desc, 1 limit 5;
END
same sqlite3 sqlite3 :memory: '.read query.sql'
