"""Words of a caption, as the caption metrics count them."""

from __future__ import annotations

import regex

from ...data.formats.letters import UNSPACED, plain

_WORD = rf"[\w--[{UNSPACED}]]"
_TOKEN = regex.compile(
    rf"""
      -[lr][rcs]b-                                 # a bracket, where the text is tokenized already
    | (?:[a-z]\.){{2,}}                            # u.s.
    | (?:mr|mrs|ms|dr|st|jr|sr|vs)\.
    | \d+(?:[.,:]\d+)+(?!\w)                       # 1,000  3.5  10:30
    | '(?:s|m|d|re|ve|ll)\b                        # a clitic that stands alone
    | [[{UNSPACED}]&&\w]\p{{M}}*                 # scripts without spaces: each of its letters
    | {_WORD}+(?:[-/'&]{_WORD}+)*                  # words; hyphens and slashes inside stay
    | (?=[^\w\s.,:;?!'"`-])(?![\p{{P}}--\p{{ASCII}}])\X  # any other sign that is no punctuation
    """,
    regex.VERBOSE | regex.VERSION1,
)
_CLITIC = regex.compile(r"(.*?)(n't|'(?:s|m|d|re|ve|ll))")
_SPLIT = {
    "cannot": ["can", "not"],
    "gonna": ["gon", "na"],
    "gotta": ["got", "ta"],
    "wanna": ["wan", "na"],
    "gimme": ["gim", "me"],
    "lemme": ["lem", "me"],
}
_SIGNS = str.maketrans(
    {
        "’": "'",
        "‘": "'",
        "“": '"',
        "”": '"',
        "…": " ",
        "–": " ",
        "—": " ",
        "(": " -lrb- ",
        ")": " -rrb- ",
        "{": " -lcb- ",
        "}": " -rcb- ",
        "[": " -lsb- ",
        "]": " -rsb- ",
    }
)


def ptb_words(text: str) -> list[str]:
    """Split a caption as coco-caption does: the Penn Treebank's rules, no capitals, no punctuation.

    The rules are those that captions meet: contractions (`do n't`, `someone 's`), hyphenated words,
    numbers, abbreviations. coco-caption means to drop brackets too, but looks for them in upper
    case after lowering the text, so they stay (`-lrb-`), and they stay here. Words that were split
    before are left as they are.

    In every language a word is what Unicode calls one, and what no reader sees is nothing. Where a
    script puts no spaces between words (Chinese, Japanese, Thai), each of its letters, with the
    marks that belong to it, counts as a word.

    Args:
        text: A caption.
    """
    words = []
    for token in _TOKEN.findall(plain(text).lower().translate(_SIGNS)):
        if "'" in token and (parts := _CLITIC.fullmatch(token)):
            words += [part for part in parts.groups() if part]
        elif token in _SPLIT:
            words += _SPLIT[token]
        else:
            words.append(token)
    return words
