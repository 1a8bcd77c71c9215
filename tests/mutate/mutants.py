"""Mutants of a C++ source: small changes to its text that a test should notice. Works on tokens, and relies on clang-format's spaces
to tell a comparison from a template's bracket and a product from a pointer."""

import dataclasses
import re

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
    |(?P<directive>^[ \t]*\#(?:[^\n\\]|\\\n|\\.)*)
    |(?P<string>(?:u8|[uUL])?"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+')
    |(?P<number>(?:0[xXbB][0-9a-fA-F']+|\d[\d']*)(?:\.\d*)?(?:[eEpP][+-]?\d+)?[uUlLfF]*)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<op><=>|<<=|>>=|->|::|<<|>>|<=|>=|==|!=|&&|\|\||\+\+|--|[-+*/%&|^]=|.)
    |(?P<space>\s+)""",
    re.X | re.S | re.M,
)
BINARY = {
    "<": ["<="], "<=": ["<"], ">": [">="], ">=": [">"], "==": ["!="], "!=": ["=="],
    "+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["*"], "&": ["|"], "|": ["&"], "^": ["|"],
    "<<": [">>"], ">>": ["<<"], "&&": ["||"], "||": ["&&"],
    "+=": ["-="], "-=": ["+="], "*=": ["/="], "/=": ["*="], "&=": ["|="], "|=": ["&="],
}  # fmt: skip
UNARY = {"++": "--", "--": "++"}
SKIPPED = {"static_assert", "using", "namespace", "template", "enum", "struct", "class", "friend", "typedef", "extern"}


@dataclasses.dataclass(frozen=True)
class Token:
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclasses.dataclass(frozen=True)
class Mutant:
    operator: str
    start: int  # of the text that is replaced
    end: int
    text: str

    def apply(self, source: str) -> str:
        return source[: self.start] + self.text + source[self.end :]

    def line(self, source: str) -> int:
        return source.count("\n", 0, self.start) + 1


def tokens_of(source: str) -> list[Token]:
    """The tokens that mean something: no comments, directives and space."""
    found = [Token(m.lastgroup, m.group(), m.start()) for m in TOKEN.finditer(source)]
    return [t for t in found if t.kind not in ("comment", "directive", "space") and t.text.strip()]


def skipped_tokens(tokens: list[Token]) -> set[int]:
    """Indices of tokens in declarations that compute nothing, up to their ; or {, and in attributes."""
    skipped = set()
    for i, token in enumerate(tokens):
        if token.text in SKIPPED:
            j = i
            # template <...> ends with its bracket: what follows may compute.
            depth = 0
            while j < len(tokens):
                skipped.add(j)
                depth += {"<": 1, ">": -1, ">>": -2}.get(tokens[j].text, 0) if token.text == "template" else 0
                if token.text == "template" and depth <= 0 and j > i:
                    break
                if token.text != "template" and tokens[j].text in ("{", ";"):
                    break
                j += 1
        if token.text == "[" and i + 1 < len(tokens) and tokens[i + 1].text == "[":
            while tokens[i].text != "]":
                skipped.add(i)
                i += 1
    return skipped


def number_mutants(token: Token) -> list[Mutant]:
    match = re.fullmatch(r"(0[xX][0-9a-fA-F']+|\d[\d']*)([uUlL]*)", token.text)
    if not match:
        return []
    value = int(match[1].replace("'", ""), 16 if match[1][:2] in ("0x", "0X") else 10)
    values = [value + 1] + ([value - 1] if value > 0 else [])
    written = (lambda v: f"{v:#x}") if match[1][:2] in ("0x", "0X") else str
    return [Mutant("constant", token.start, token.end, written(v) + match[2]) for v in values]


def closing(tokens: list[Token], i: int) -> int:
    """Index of the bracket that closes the one at i."""
    depth = 0
    for j in range(i, len(tokens)):
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(tokens[j].text, 0)
        if depth == 0:
            return j
    return len(tokens) - 1


def statement_end(tokens: list[Token], i: int) -> int | None:
    """Index of the ; that ends the statement at i; None when another bracket stands in between."""
    while i < len(tokens) and tokens[i].text != ";":
        if tokens[i].text in ("{", "}", ")", "]"):
            return None
        i = closing(tokens, i) + 1 if tokens[i].text in ("(", "[") else i + 1
    return i if i < len(tokens) else None


def statement_mutants(tokens: list[Token], i: int) -> list[Mutant]:
    """Deletes the statement at token i, which stands behind ; { } or a closing bracket, unless it declares or returns."""
    first, j = tokens[i], i + 1
    while j + 1 < len(tokens) and tokens[j].text == "::":  # std::sort(...) acts, std::size_t n declares
        j += 2
    second = tokens[j].text if j < len(tokens) else ""
    acts = first.kind == "name" and second in ("=", "+=", "-=", "*=", "/=", "&=", "|=", "(", ".", "->", "[", "++", "--")
    named = first.text in ("if", "for", "while", "switch", "return", "case", "do", "sizeof")
    if named or not (acts or first.text in ("continue", "break", "++", "--", "*")):
        return []
    end = statement_end(tokens, i)
    return [] if end is None else [Mutant("statement deleted", first.start, tokens[end].end, ";")]


def mutants_of(source: str) -> list[Mutant]:
    """All of them, in the order of the text."""
    tokens = tokens_of(source)
    skipped = skipped_tokens(tokens)
    found = []
    for i, token in enumerate(tokens):
        if i in skipped:
            continue
        spaced = source[token.start - 1 : token.start].isspace() and source[token.end : token.end + 1].isspace()
        if token.kind == "op" and spaced:
            found += [Mutant("operator", token.start, token.end, text) for text in BINARY.get(token.text, [])]
        if token.text in UNARY:
            found.append(Mutant("operator", token.start, token.end, UNARY[token.text]))
        if token.text == "!" and not spaced:
            found.append(Mutant("negation dropped", token.start, token.end, ""))
        if token.kind == "number":
            found += number_mutants(token)
        following = tokens[i + 1].text if i + 1 < len(tokens) else ""
        if token.text in ("if", "while") and following == "(":
            inside = tokens[i + 1 : closing(tokens, i + 1) + 1]
            if all(t.text != ";" for t in inside):  # no statement of its own in front of the condition
                start, end = inside[0].end, inside[-1].start
                found.append(Mutant("condition negated", start, end, f"!({source[start:end]})"))
        if token.text == "return" and following not in (";", "{"):
            end = statement_end(tokens, i)
            if end is not None:
                start = tokens[i + 1].start
                found.append(Mutant("result negated", start, tokens[end].start, f"!({source[start:tokens[end].start]})"))
        if i > 0 and tokens[i - 1].text in (";", "{", "}", ")", "else"):
            found += statement_mutants(tokens, i)
    return sorted(found, key=lambda m: (m.start, m.end, m.text))
