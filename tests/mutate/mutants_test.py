#!/usr/bin/env python3
"""Which mutants there are, and which there are not. Exit 1 names the first that is wrong."""

import sys

from mutants import mutants_of

# Source, and what its mutants turn the replaced text into.
CASES = [
    ("bool f(int a) { return a < 7; }", ["a <= 7", "a < 8", "a < 6", "!(a < 7)"]),
    ("int f(int a, int* b) { return a * *b; }", ["a / *b", "!(a * *b)"]),
    ("void f() { if (a && !b) g(a, b); }", ["a || !b", "a && b", "!(a && !b)", "if (a && !b) ;"]),
    ("void f() { x += 2; }", ["x -= 2", "x += 3", "x += 1", "{ ; }"]),
    ("void f() { for (int i = 0; i != n; ++i) continue; }", ["i = 1", "i == n", "--i", ") ; }"]),
    ("int f() { return 0xffU; }", ["0x100U", "0xfeU", "!(0xffU)"]),
    ("void f() { std::sort(a, b); std::size_t n; }", ["{ ; std"]),
    ("// a < b\n/* 1 + 2 */ int x;", []),
    ('const char* f = "1 < 2 // 3";', []),
    ("char c = '7';", []),
    ("static_assert(sizeof(int) == 4 && 1 < 2);", []),
    ("template <int kBits = 8, class T>\nusing A = B<kBits, 3>;", []),
    ("#define F(a) ((a) + 1)\nstd::vector<std::pair<int, int>> v;", []),
    ("#if A == 1 && \\\n    B == 2\n#endif", []),
    ("const Matrix<float>& f(const T& a);", []),
    ("enum class E : int { a = 1 };", ["a = 2", "a = 0"]),
    ("[[nodiscard]] int f();", []),
    ("float f = 0x1p-126F;", []),
    ("int x = f();", []),
]




def main() -> int:
    for source, wanted in CASES:
        got = [mutant.apply(source) for mutant in mutants_of(source)]
        unmet = [text for text in wanted if not any(text in changed for changed in got)]
        if unmet or len(got) != len(wanted) or source in got:
            print(f"{source!r}: wanted {wanted}, got {got}")
            return 1
    print(f"mutants: {len(CASES)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
