"""Writes tables.txt.gz, the tables of RFC 3454 and of Unicode 3.2 that SASLprep needs, from Python's copies of them:

    python3 testdata/tables.py tables.txt.gz

A line is a kind, and texts in UTF-8 or ranges in hexadecimal:

    d CHARACTER DECOMPOSITION   NFKD, complete
    c FIRST SECOND COMPOSED     canonical composition
    k CLASS RANGE...            combining class
    b, s, p, r, l RANGE...      B.1 (mapped to nothing), C.1.2 (spaces), all that is prohibited, D.1, D.2
"""
import gzip
import stringprep as rfc3454
import sys
import unicodedata

u = unicodedata.ucd_3_2_0
characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
hangul = range(0xAC00, 0xD7A4)  # done by arithmetic
prohibited = [getattr(rfc3454, "in_table_" + t) for t in ("c12", "c21_c22", "c3", "c4", "c5", "c6", "c7", "c8", "c9")]


def ranges(has):
    spans = []
    for c in map(ord, filter(has, characters)):
        if spans and spans[-1][1] == c - 1:
            spans[-1][1] = c
        else:
            spans.append([c, c])
    return " ".join(f"{a:x}-{b:x}" for a, b in spans)


lines = []
for s in characters:
    if ord(s) not in hangul and u.normalize("NFKD", s) != s:
        lines.append(f"d {s} {u.normalize('NFKD', s)}")
for s in characters:
    d = u.decomposition(s).split()
    if ord(s) not in hangul and len(d) == 2 and d[0][0] != "<":
        first, second = (chr(int(x, 16)) for x in d)
        if u.normalize("NFC", first + second) == s:
            lines.append(f"c {first} {second} {s}")
for k in sorted({u.combining(s) for s in characters} - {0}):
    lines.append(f"k {k} " + ranges(lambda s: u.combining(s) == k))
lines.append("b " + ranges(rfc3454.in_table_b1))
lines.append("s " + ranges(rfc3454.in_table_c12))
lines.append("p " + ranges(lambda s: any(t(s) for t in prohibited)))
lines.append("r " + ranges(rfc3454.in_table_d1))
lines.append("l " + ranges(rfc3454.in_table_d2))
with open(sys.argv[1], "wb") as f:
    f.write(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
