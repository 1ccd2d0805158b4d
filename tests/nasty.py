"""Hostile names, for every test that a name is neither a path nor markup."""

import pytest

NASTY = [
    *("../../../X", "/etc/passwd", "~", "~root", ".", "..", "", ".hidden", "._x", ".tmp-x", "tmp-x", "a/b", "a\\b"),
    *("\0", "a\0b", "line\nbreak", "cr\rlf\n", "tab\tbed", "\x1b[31mred\x1b[0m", "\x07", "\x9b2J", "\u2028"),
    *("'", '"', "'; DROP TABLE runs; --", "`id`", "$(id)", "%(x)s", "%s%n", "{x}", "{0.__class__}", "${HOME}"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>', "&amp;", "&lt;b&gt;"),
    *("javascript:alert(1)", "[x](javascript:alert(1))", "<!--", "]]>", "$x_$", "$x^$", r"\alpha", r"$\frac{1}$", "_x"),
    *("\u202egnp.exe", "\u200b", "\ufeff", "e\u0301", "\xe9", "\U0001f600", "漢字", "שלום"),
    *("x" * 300, "é" * 300, "\U0001f600" * 80, "x+ade255fc2576", "NA"),
    *("-rf", "--help", "CON", "nul.txt", "dot.", "space ", " space", "a:b", "a*b?", "a|b", "+x"),
]
PLAIN = "scratch"
IDS = [ascii(name)[:30] for name in NASTY]
LEGAL = [name for name in NASTY if name and "\0" not in name and "/" not in name and len(name.encode()) <= 255]
LEGAL = [name for name in LEGAL if name[0] not in "._"]  # folders of categories and defects are not hidden
each_name = pytest.mark.parametrize("name", NASTY, ids=IDS)
