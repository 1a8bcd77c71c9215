#!/usr/bin/env python3
"""Holds docs/promises.md to the tests: every promise names at least one, and each of them exists. Exit 1 names each mistake."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "promises.md"
ROW = re.compile(r"^\| (?P<promise>.+?) \| (?P<held>.*) \|$")
LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")


def defines(text: str, test: str, path: str) -> bool:
    """Whether a file holds a test: Suite.Name of GoogleTest, or a function of pytest."""
    if path.endswith(".py"):
        return re.search(rf"^def {re.escape(test)}\(", text, re.M) is not None
    suite, _, name = test.partition(".")
    return re.search(rf"^TEST(_[FP])?\({re.escape(suite)}, {re.escape(name)}\)", text, re.M) is not None


def mistakes(page: str, read) -> list[str]:
    """Sentences for rows without a test and for tests that are not there. `read`(path) is a file's text, None where it is not."""
    found = []
    rows = [m for m in map(ROW.match, page.splitlines()) if m and set(m["promise"]) != {"-"} and m["held"] != "held by"]
    if not rows:
        found.append("the page has no promises; each is a row of a table whose second column links its tests")
    for row in rows:
        links = LINK.findall(row["held"])
        if not links:
            found.append(f"no test holds: {row['promise']}; link one as [Suite.Name](../path)")
        for test, target in links:
            text = read(target.removeprefix("../"))
            if text is None:
                found.append(f"{test}: there is no file {target}")
            elif "." in test or target.endswith(".py"):
                if not defines(text, test, target):
                    found.append(f"{target} has no test {test}")
    return found


def self_test() -> None:
    """The check sees what it is for."""
    files = {"a_test.cpp": "TEST_P(Suite, Name) {", "b.py": "def test_b():", "c.sh": ""}
    row = "| words | {} |\n"
    head = "| promise | held by |\n|---|---|\n"
    for held, wrong in [
        ("[Suite.Name](../a_test.cpp)", 0),
        ("[Suite.Name](../a_test.cpp), [test_b](../b.py), [a script](../c.sh)", 0),
        ("[Suite.Nam](../a_test.cpp)", 1),
        ("[Suite.Name](../b_test.cpp)", 1),
        ("[test_a](../b.py)", 1),
        ("a test somewhere", 1),
        ("", 1),
    ]:
        assert len(mistakes(head + row.format(held), files.get)) == wrong, held
    assert mistakes(head, files.get)


def main() -> int:
    self_test()

    def read(path: str) -> str | None:
        file = ROOT / path
        return file.read_text() if file.is_file() else None

    page = PAGE.read_text()
    found = mistakes(page, read)
    for sentence in found:
        print(sentence)
    print(f"promises: {len(LINK.findall(page))} links to tests, {len(found)} mistakes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
