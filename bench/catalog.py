"""Real programs and what they are given to do: bench/programs runs them, bench/traces.py records them.

Inputs are made here, the same on every machine; `size` scales them (1: some tens of milliseconds). A program of
which several processes take part names the one whose trace is kept. What is not installed is left out."""
import dataclasses
import os
import random
import shutil
import subprocess
import typing


@dataclasses.dataclass
class Program:
    name: str
    command: typing.Callable  # (size) -> argv, run in the folder of the inputs
    inputs: typing.Callable = lambda size: {}  # (size) -> {file name: text}
    process: str = ""  # whose trace is kept; "" is the program itself
    prepare: typing.Callable = None  # (folder) once, after the inputs were written
    size: int = 8  # end to end; a trace is of size 1

    def find(self, size=1):
        """The command with the program's full path, or None when it is not installed."""
        argv = self.command(size)
        # a wrapper found first in PATH would be measured too
        path = next((p for p in (f"/usr/bin/{argv[0]}", f"/usr/sbin/{argv[0]}") if os.path.exists(p)), None)
        path = path or shutil.which(argv[0])
        return [path, *argv[1:]] if path else None

    def lay(self, folder, size):
        os.makedirs(folder, exist_ok=True)
        for name, text in self.inputs(size).items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        if self.prepare:
            self.prepare(folder)


def words(seed, count):
    """Words as a text has them: few often, many seldom."""
    dice = random.Random(seed)
    known = ["".join(dice.choice("aeioubcdfglmnprstv") for _ in range(2 + dice.randrange(8))) for _ in range(4000)]
    return [known[int(dice.paretovariate(0.9)) % len(known)] for _ in range(count)]


def lines(seed, count):
    text = words(seed, count * 9)
    return "\n".join(" ".join(text[i * 9:i * 9 + 9]) for i in range(count)) + "\n"


PYTHON = """import json, sys, collections
size = int(sys.argv[1])
table = collections.defaultdict(list)
for i in range(size * 20000):
    table[f"key{i * 7919 % 5003}"].append({"n": i, "s": str(i) * 3, "t": (i, i + 1)})
text = json.dumps(table)
back = json.loads(text)
print(len(text), sum(len(v) for v in back.values()), len(set(text.split())))
"""
PERL = """my (%count, @parts); my $size = shift;
for my $i (1 .. $size * 40000) { my $k = "w" . ($i * 7919 % 9973); $count{$k} .= " $i"; push @parts, "$k:$i" if $i % 7 == 0; }
my $text = join ",", @parts; my $n = 0;
while ($text =~ /w(\\d+):(\\d+)/g) { $n += length "$1$2"; }
print scalar(keys %count), " $n ", length(join "", map { $count{$_} } sort keys %count), "\\n";
"""
LUA = """local size, t, parts = tonumber(arg[1]), {}, {}
for i = 1, size * 60000 do local k = "k" .. (i * 7919 % 5003); t[k] = t[k] or {}; table.insert(t[k], {i, k .. i}) end
for k, v in pairs(t) do parts[#parts + 1] = k .. "=" .. #v end
table.sort(parts); print(#table.concat(parts, ","))
"""
TCL = """set size [lindex $argv 0]
for {set i 0} {$i < $size * 30000} {incr i} { lappend t([expr {$i * 7919 % 997}]) "value $i" }
set n 0; foreach k [lsort [array names t]] { incr n [string length [join [lreverse $t($k)] ,]] }
puts $n
"""
RUBY = """size = ARGV[0].to_i; t = Hash.new { |h, k| h[k] = [] }
(size * 40000).times { |i| t["k#{i * 7919 % 5003}"] << "v#{i}" * 2 }
puts t.map { |k, v| k + v.join(",") }.sort.join.length
"""
JAVASCRIPT = """const size = +process.argv[2], t = new Map();
for (let i = 0; i < size * 60000; i++) { const k = "k" + i * 7919 % 5003; if (!t.has(k)) t.set(k, []); t.get(k).push({i, s: k + i}); }
console.log(JSON.stringify([...t]).length);
"""
CXX = """#include <algorithm>
#include <iostream>
#include <map>
#include <regex>
#include <sstream>
#include <unordered_map>
template <int N> struct deep { std::map<int, std::vector<std::string>> m; deep<N - 1> d; };
template <> struct deep<0> {};
int main() { deep<%d> d; std::regex r("a(b|c)*d"); std::unordered_map<std::string, int> u; std::ostringstream s;
  for (auto &p : d.m) s << p.first; u["x"] = std::regex_match("abcd", r); std::cout << s.str() << u.size(); }
"""


def c_source(size):
    functions = [f"static struct node *walk{i}(struct node *n, int k)\n{{\n    for (int j = 0; j < k; j++) {{\n"
                 f"        if (n->value % {i + 2} == j) n = n->left ? n->left : n->right;\n"
                 f"        else n->value += j * {i} + (k >> (j & 7));\n        switch (n->value & 3) {{ case 0: n->value ^= "
                 f"{i * 31}; break; case 1: n->value -= k; break; default: n->value = n->value * 3 + {i}; }}\n"
                 f"    }}\n    return n;\n}}\n" for i in range(60 * size)]
    uses = "".join(f"    n = walk{i}(n, {i % 9});\n" for i in range(60 * size))
    return ("struct node { struct node *left, *right; int value; };\n" + "".join(functions)
            + f"int go(struct node *n)\n{{\n{uses}    return n->value;\n}}\n")


def sql(size):
    values = words(3, 4000)
    return ("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b INT); CREATE INDEX ia ON t(a);\n"
            + f"WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {20000 * size}) "
              f"INSERT INTO t SELECT x, '{values[0]}' || (x * 7919 % 997), x * 31 % 1009 FROM c;\n"
            + "SELECT count(*), sum(p.b), group_concat(DISTINCT substr(p.a, 1, 4)) FROM t p JOIN t q ON p.b = q.id;\n"
            + "SELECT a, count(*) n, max(b) FROM t GROUP BY a ORDER BY n DESC, a LIMIT 5;\n"
            + f"UPDATE t SET a = a || '{values[1]}' WHERE id % 3 = 0; SELECT length(group_concat(a)) FROM t;\n")


def pigeons(size):
    """More pigeons than holes, in bit-vectors: unsatisfiable, and a solver has to prove it."""
    count = 6 + size.bit_length()
    text = "".join(f"(declare-const p{i} (_ BitVec 8))\n(assert (bvult p{i} (_ bv{count - 1} 8)))\n"
                   for i in range(count))
    return text + "".join(f"(assert (not (= p{i} p{j})))\n" for i in range(count) for j in range(i)) + "(check-sat)\n"


def graph(size):
    dice = random.Random(5)
    edges = "".join(f"  n{dice.randrange(60 * size)} -> n{dice.randrange(60 * size)} [label=\"e{i}\"];\n"
                    for i in range(90 * size))
    return f"digraph g {{\n{edges}}}\n"


def postscript(size):
    pages = [f"/Helvetica findfont {8 + page % 5} scalefont setfont\n" + "".join(
        f"{30 + y % 7} {40 + y * 9} moveto ({line}) show\n" for y, line in enumerate(lines(page, 70).split("\n")))
        + f"0 1 200 {{ dup 3 mul exch 2 mul moveto 50 50 rlineto stroke }} for showpage\n" for page in range(6 * size)]
    return "%!PS\n" + "".join(pages)


def documents(size):
    rows = [f"{{\"id\": {i}, \"name\": \"{word}\", \"tags\": [\"{word}\", \"t{i % 50}\"], \"x\": {{\"y\": {i / 8}}}}}"
            for i, word in enumerate(words(9, 6000 * size))]
    return "[" + ",\n".join(rows) + "]\n"


def markup(size):
    items = "".join(f"<item n='{i}'><name>{word}</name><p>{word} <b>{i}</b> text</p></item>\n"
                    for i, word in enumerate(words(11, 8000 * size)))
    return f"<?xml version='1.0'?><list>{items}</list>\n"


def manual(size):
    return ".TH BENCH 7\n" + "".join(f".SH SECTION {i}\n.TP\n.B word\n{lines(i, 40)}.PP\n.IR text ,\n{lines(i + 1, 40)}"
                                     for i in range(12 * size))


def history(folder):
    """A repository with some history, written by fast-import."""
    text = words(13, 200000)
    stream = []
    for commit in range(400):
        stream.append(f"commit refs/heads/main\ncommitter A <a@b> {1700000000 + commit * 60} +0000\ndata 8\nchanges\n\n")
        for number in range(5):
            start = commit * 97 + number * 3000
            body = "\n".join(" ".join(text[i:i + 8]) for i in range(start, start + 800, 8))
            stream.append(f"M 100644 inline f{(commit + number * 7) % 60}\ndata {len(body)}\n{body}\n")
    subprocess.run(["git", "init", "-q", "-b", "main", "repo"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["git", "-C", "repo", "fast-import", "--quiet", "--force"], cwd=folder, check=True,
                   input="".join(stream).encode(), stdout=subprocess.DEVNULL)


def script(name, file, text, size):
    return Program(name, lambda count: [name, file, str(count)], lambda count: {file: text}, size=size)


PROGRAMS = [
    Program("python3", lambda size: ["python3", "-S", "p.py", str(size)], lambda size: {"p.py": PYTHON}, size=3),
    script("perl", "p.pl", PERL, 8),
    script("lua5.4", "p.lua", LUA, 2),
    script("tclsh", "p.tcl", TCL, 6),
    script("ruby", "p.rb", RUBY, 4),
    script("node", "p.js", JAVASCRIPT, 4),
    Program("gawk", lambda size: ["gawk", "{ for (i = 1; i <= NF; i++) n[$i \" \" $(i - 1)]++ } END { for (k in n) s "
                                  "= s < k \"\" ? k : s; print length(n), s }", "text"],
            lambda size: {"text": lines(2, 6000 * size)}),
    Program("gcc", lambda size: ["gcc", "-O2", "-S", "-o", "/dev/null", "p.c"], lambda size: {"p.c": c_source(size)},
            "cc1", size=2),
    Program("g++", lambda size: ["g++", "-S", "-o", "/dev/null", "p.cc"],
            lambda size: {"p.cc": CXX % (4 * size)}, "cc1plus", size=1),
    Program("clang", lambda size: ["clang", "-O1", "-S", "-o", "/dev/null", "p.c"],
            lambda size: {"p.c": c_source(size)}, "clang", size=2),
    Program("sqlite3", lambda size: ["sqlite3", ":memory:", ".read p.sql"], lambda size: {"p.sql": sql(size)}, size=3),
    Program("git", lambda size: ["git", "-C", "repo", "log", "-p", "--stat", f"-n{50 * size}"], prepare=history),
    Program("z3", lambda size: ["z3", "p.smt2"], lambda size: {"p.smt2": pigeons(size)}),
    Program("gs", lambda size: ["gs", "-q", "-dBATCH", "-dNOPAUSE", "-sDEVICE=pdfwrite", "-o", "/dev/null", "p.ps"],
            lambda size: {"p.ps": postscript(size)}, size=6),
    Program("dot", lambda size: ["dot", "-Tsvg", "-o", "/dev/null", "p.dot"], lambda size: {"p.dot": graph(size)},
            size=2),
    Program("jq", lambda size: ["jq", "-c", "group_by(.name) | map({n: .[0].name, c: length, s: (map(.x.y) | add)})",
                                "p.json"], lambda size: {"p.json": documents(size)}, size=4),
    Program("xsltproc", lambda size: ["xsltproc", "p.xsl", "p.xml"], lambda size: {
        "p.xml": markup(size), "p.xsl": "<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999/XSL/Transform'>"
        "<xsl:template match='/list'><o><xsl:for-each select='item'><xsl:sort select='name'/><x><xsl:value-of "
        "select='p'/></x></xsl:for-each></o></xsl:template></xsl:stylesheet>"}),
    Program("groff", lambda size: ["groff", "-man", "-Tutf8", "p.man"], lambda size: {"p.man": manual(size)}, "troff"),
]


def available():
    return [program for program in PROGRAMS if program.find()]
