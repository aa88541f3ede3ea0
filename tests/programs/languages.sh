#!/usr/bin/env bash
# Interpreters and compilers. test: timeout=300
source "${LOAM_SOURCE:?}/tests/programs/lib.sh" || exit 1
need python3 perl ruby lua5.4 tclsh gawk bc gcc g++ clang node

same python3 python3 -c '
import json, re, threading, hashlib
data = {str(i): [i, str(i) * 3, {"x": i / 7}] for i in range(20000)}
text = json.dumps(data, sort_keys=True)
print(hashlib.sha256(text.encode()).hexdigest(), len(re.findall(r"\d+", text)))
out = []
def work(n): out.append(sum(len(str(i) * 5) for i in range(n)))
threads = [threading.Thread(target=work, args=(20000,)) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(sorted(out))'
same perl perl -e '
my %h; $h{$_ % 5003} .= "word$_," for 1..200000;
my $t = join "", map { "$_=$h{$_}" } sort keys %h;
print length($t), " ", unpack("%32C*", $t), "\n"; print scalar(() = $t =~ /9\d,/g), "\n"'
same ruby ruby --disable-gems -e '
h = Hash.new { |a, k| a[k] = [] }
100000.times { |i| h[i % 997] << "v#{i}" }
GC.start
puts h.values.map { |v| v.join.size }.sum, h[5][0, 5].inspect
puts 8.times.map { |n| Thread.new { (1..20000).map(&:to_s).join.size } }.map(&:value).inspect'
same node node -e '
const m = new Map(); for (let i = 0; i < 200000; i++) m.set("k" + i % 9973, (m.get("k" + i % 9973) || "") + i);
console.log([...m.values()].reduce((a, v) => a + v.length, 0), Buffer.alloc(3e6, "loam").toString("base64").length);
const z = require("zlib"), b = Buffer.from(JSON.stringify([...m]));
console.log(b.length, z.gunzipSync(z.gzipSync(b)).equals(b), require("crypto").createHash("sha1").update(b).digest("hex"))'
same lua lua5.4 -e '
local t = {} for i = 1, 200000 do t[i] = tostring(i) .. "x" end
table.sort(t) print(#table.concat(t), t[1], t[100000])'
cat >list.tcl <<'END'
for {set i 0} {$i < 100000} {incr i} {lappend l [string repeat $i 3]}
puts [llength [lsort $l]]; puts [string length [join $l ,]]
END
same tclsh tclsh list.tcl
seq 1 200000 >numbers
same gawk gawk '{ a[$1 % 1009] = a[$1 % 1009] "," $1 } END { for (i = 0; i < 1009; i++) n += length(a[i]); print n }' numbers
printf '%s\n' 'scale=500' '4*a(1)' '2^5000' quit >pi.bc
same bc bc -lq pi.bc
cat >program.cc <<'END'
#include <algorithm>
#include <iostream>
#include <map>
#include <regex>
#include <string>
int main()
{
    std::map<std::string, int> words;
    for (int i = 0; i < 1000; i++)
        words[std::to_string(i * 7919 % 1000)] += i;
    std::cout << std::regex_replace(std::to_string(words["42"]), std::regex("[0-9]"), "<$&>") << '\n';
}
END
same g++ g++ -O2 -S -o - program.cc
echo 'int f(int *a, int n) { int s = 0; for (int i = 0; i < n; i++) s += a[i]; return s; }' >sum.c
same gcc gcc -O2 -S -o - sum.c
same clang clang -O2 -S -o - program.cc
