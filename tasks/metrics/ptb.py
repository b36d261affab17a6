"""Words of a caption, as the caption metrics count them."""

from __future__ import annotations

import regex

from ...data.formats.letters import UNSPACED, plain

# Written with a full stop, in capitals or not; of some only with a capital, the others are words.
_SHORT = (
    "adj adm adv al ala alex apr ariz ark assn assoc asst atty attys aug ave bhd bldg blvd brig "
    "bros calif capt cf cie cmdr co col colo conn corp cos cpl ct dak dec del dept dr drs ed.d "
    "elec esq est etc ext feb fla fri ft ga gen gov govs hon inc ind insp intl jan jos jr jul jun "
    "kan kans ky lieut lt ltd maj mar md messrs mfg mich minn mlle mme mo mon mont mr mrs ms mt "
    "natl neb nev nov oct okla penn pfc ph ph.d plc pres prof profs pvt rd rep reps rev rt sen "
    "sens sep sept sgt spc sq sr st ste supt sys tel tenn thu thurs tue tues univ va vs vt wed "
    "wis wisc wm wyo"
)
_CAPITAL = "Ill La Mass Miss Ore Pa Tex Wash"
# What begins a sentence: a letter before it has ended the one before, and is no initial.
_STARTS = (
    "A About According After An As At But He Her Here However If In It Last Many More Now Once "
    "One Other Our She Since So Some Such That The Their Then There These They This We What When "
    "While Yet You"
)
_LETTER = r"[\p{L}\p{M}]"
_ALONE = rf"[[\w--_]--[{UNSPACED}]]"  # a letter, digit or mark of a script with spaces
_WORD = rf"{_ALONE}+"
_MORE = rf"(?:[-/_]{_WORD})*"
_DOTTED = rf"(?!\d){_WORD}(?:[.!?](?!\d){_WORD})+(?:\.(?=[,;:]))?"


def _any(words: str) -> str:
    return "|".join(map(regex.escape, words.split()))


_SHORTENED = rf"(?:(?i:{_any(_SHORT)})|(?:{_any(_CAPITAL)})|(?:{_any(_CAPITAL.upper())}))\."
_TOKEN = regex.compile(
    rf"""\s*+(
      [A-Za-z]++(?=[ ,]|$)                         # nearly all words, at once
    | (?i:-[lr][rcs]b-)                            # a bracket, where the text is tokenized already
    | https?://\S+ | www\.[\w./-]*\w
    | {_ALONE}[\w.]*+@[^\s"<>|().]+(?:\.[^\s"<>|().]+)* | [@\#]\p{{L}}[\p{{L}}_]*
    | [<>]?[:;=][-o*']?[()DPdpO\\{{@|\[\]](?!{_LETTER}) | [-^=~<>']_[-^=~<>']   # faces
    | (?i:{_LETTER}+?(?=n['’]t(?!{_LETTER})) | n['’]t(?!{_LETTER}))
    | (?<!['’])(?i:['’](?:[smd]|re|ve|ll)(?!{_LETTER}))     # a clitic
    | (?i:['’]n(?:'|(?=\s|$)))                     # rock 'n' roll
    | (?<!{_ALONE})(?i:['’](?:em|til|cause)(?!{_LETTER}) | '(?:t(?=(?:is|was)(?!{_LETTER}))))
    | (?<!{_ALONE})['’]\d\ds?(?!{_ALONE}|['’/-])          # '90s
    | (?<!{_ALONE})(?:[dlnoA-HJ-XZ]|[cs](?='m)|e(?='er))    # o'clock, D'Angelo
      ['’](?!(?:re|ve|ll)(?!{_LETTER})){_LETTER}{{2,}}(?:-{_WORD})*
    | {_LETTER}+(?i:[aeiouy]['’](?!(?:ve|re|ll)(?!{_LETTER}))[aeiou]){_LETTER}*  # ma'am
    | (?<!{_ALONE})(?i:[djly]['’](?={_LETTER}) | cap['’]n | ol['’])
    | (?<!{_ALONE})(?i:(?:somethin|dunkin)['’](?![smdt](?!{_LETTER})))
    | [A-Z]+(?:&[A-Z]+)+ | C\+\+ | C\#(?!\w) | (?:US|[ACS])\$
    | \d+[ ]\d+/\d+ | \.{{3,}} | -{{5,}} | -{{2,4}}
    | (?<!{_ALONE})(?=[A-Za-z0-9]+[.,])               # U.S.-made, 5,000-seat
      [A-Za-z0-9.,]++(?:-[A-Za-z0-9]+)+
    | (?:[A-Za-z]\.){{2,}}(?!{_ALONE})              # u.s.
    | (?i:ph|ed)\.[dD]\.(?!{_ALONE})
    | {_DOTTED}                                    # no space behind a full stop: parked.A
    | {_SHORTENED}(?!{_ALONE})
    | (?i:art|ca|figs?|nos?|op|pp|prop)\.(?=\s*\d)
    | [A-Za-z]\.(?!\s+(?:{_any(_STARTS)})(?!{_ALONE}))   # an initial
    | [-+]?\d*(?:[.,:]\d+)+       # 1,000  3.5  10:30
    | [-+]\d+
    | (?!\d){_WORD}\.(?=[,;:])
    | [[{UNSPACED}]&&\w]\p{{M}}*                 # scripts without spaces: each of its letters
    | {_WORD}{_MORE}                               # words; hyphens and slashes inside stay
    | [!?]{{2,}} | \*+ | \#\#+ | _+
    | (?=[^\w\s.,:;?!'"`-])(?![\p{{P}}--\p{{ASCII}}])\X  # any other sign that is no punctuation
    )""",
    regex.VERBOSE | regex.VERSION1,
)
_SPLIT = {
    "cannot": ["can", "not"],
    "gonna": ["gon", "na"],
    "gotta": ["got", "ta"],
    "wanna": ["wan", "na"],
    "gimme": ["gim", "me"],
    "lemme": ["lem", "me"],
}
_ENTITY = regex.compile(r"(?i)&(amp|lt|gt|quot|nbsp|apos);")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "nbsp": " ", "apos": "'"}
_CLITIC = regex.compile(r"(?i)(n?)’(t|[smd]|re|ve|ll|n)")
_SIGNS = str.maketrans(
    {
        "‘": "`",
        "…": " ",
        "–": " ",
        "—": " ",
        "£": "#",
        "€": "$",
        "¢": " cents ",
        "¼": "  1/4 ",
        "½": "  1/2 ",
        "¾": "  3/4 ",
    }
)
_BRACKETS = str.maketrans(
    {"(": "-lrb-", ")": "-rrb-", "{": "-lcb-", "}": "-rcb-", "[": "-lsb-", "]": "-rsb-"}
)


def ptb_words(text: str) -> list[str]:
    """Split a caption as coco-caption does: the Penn Treebank's rules, no capitals, no punctuation.

    The rules are those of the tokenizer that coco-caption calls, as far as captions meet them:
    contractions (`do n't`, `someone 's`), hyphenated words, numbers and times, abbreviations and
    initials (which keep their full stop), words with a full stop and no space between
    (`parked.a`). coco-caption means to drop brackets too, but looks for them in upper case after
    lowering the text, so they stay (`-lrb-`), and they stay here, as `!!` does. Words that were
    split before are left as they are.

    In every language a word is what Unicode calls one, and what no reader sees is nothing. Where a
    script puts no spaces between words (Chinese, Japanese, Thai), each of its letters, with the
    marks that belong to it, counts as a word.

    Args:
        text: A caption.
    """
    text = plain(text)
    if "&" in text:
        text = _ENTITY.sub(lambda found: _ENTITIES[found[1].lower()], text)
    words = []
    for token in _TOKEN.findall(text.translate(_SIGNS)):
        word = token.lower()
        if word in _SPLIT:
            words += _SPLIT[word]
        elif word.isalpha():
            words.append(word)
        elif word in ("--", "---", "----") or word.startswith("..."):
            continue
        elif "’" in word and (clitic := _CLITIC.fullmatch(word)):
            words.append("'".join(clitic.groups()))
        elif " " in word:  # 5 1/2 is one word there
            words.append(word.replace(" ", "\xa0"))
        else:
            words.append(word.translate(_BRACKETS))
    return words
