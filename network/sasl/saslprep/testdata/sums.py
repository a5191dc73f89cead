"""Prints what TestEveryCharacterIsPreparedAsPythonDoes compares with: SASLprep by Python's stringprep and unicodedata."""
import hashlib
import stringprep as rfc3454
import unicodedata

tables = [getattr(rfc3454, "in_table_" + t) for t in ("c12", "c21_c22", "c3", "c4", "c5", "c6", "c7", "c8", "c9")]


def nfkc(text):
    """Python gives characters that Unicode 3.2 doesn't have the combining class of today; here they have none."""
    for i, c in enumerate(text):
        if rfc3454.in_table_a1(c):
            return nfkc(text[:i]) + c + nfkc(text[i + 1 :])
    return unicodedata.ucd_3_2_0.normalize("NFKC", text)


def prepare(text):
    text = "".join(" " if rfc3454.in_table_c12(c) else c for c in text if not rfc3454.in_table_b1(c))
    text = nfkc(text)
    if any(t(c) for c in text for t in tables):
        return None
    if any(map(rfc3454.in_table_d1, text)):
        if any(map(rfc3454.in_table_d2, text)) or not (rfc3454.in_table_d1(text[0]) and rfc3454.in_table_d1(text[-1])):
            return None
    return text


for before, behind, end in ("", "", 0x30000), ("e", "\u0323\u0301", 0x10000), ("\u0645", "\u0645", 0x10000), ("\u1100", "\u11a8", 0x10000):
    h = hashlib.sha256()
    for c in range(end):
        if not 0xD800 <= c < 0xE000:
            prepared = prepare(before + chr(c) + behind)
            h.update(b"refused\n" if prepared is None else prepared.encode() + b"\n")
    print(ascii(before), ascii(behind), hex(end), h.hexdigest())
