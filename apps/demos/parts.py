"""What the answers on the page are made of: words to move over, and what each of them says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..pages.html import Content, Html, element, joined


def word(text: str, said: Content, *, shade: str = "", kind: str = "") -> Html:
    """Return a word that shows something while the pointer or the focus is on it.

    Args:
        text: The word.
        said: What is shown.
        shade: Its ground, a colour of CSS.
        kind: Classes of its own.
    """
    style = f"background:{shade}" if shade else None
    detail = element("span", said, class_="said")
    return element("span", text, detail, class_=f"at {kind}".strip(), style=style, tabindex="-1")


def apart(text: str, said: Content) -> Html:
    """Return a word as `word` does, the space before it outside.

    Args:
        text: The word, with a space before it where there is one.
        said: What is shown.
    """
    return joined([" " if text.startswith(" ") else None, word(text.lstrip(" ") or "␣", said)])


def walk(words: Iterable[Html], *, label: str, kind: str = "", hint: Content = "") -> Html:
    """Return words to walk through: one stop of the Tab key, then the arrow keys.

    Args:
        words: What `word` returned.
        label: What is read out when the focus comes.
        kind: Classes of its own.
        hint: What stands where the details will.
    """
    return element(
        "div",
        element("span", hint, class_="hint") if hint else None,
        list(words),
        class_=f"walk {kind}".strip(),
        role="group",
        tabindex="0",
        aria_label=f"{label}. Walk with the arrow keys.",
        dir="auto",
    )


def bars(shares: Iterable[tuple[Content, float]]) -> Html:
    """Return a list of things with their shares as bars.

    Args:
        shares: Each thing and its share, from 0 to 1.
    """
    return element(
        "span",
        [
            element(
                "span",
                element("b", name),
                element("i", f"{100 * share:.0f} %"),
                class_="bar",
                style=f"--share:{100 * share:.1f}%",
            )
            for name, share in shares
        ],
        class_="bars",
    )


def shaded(words: Sequence[str], shares: Sequence[float], mark: int) -> Html:
    """Return a text whose words are shaded by their shares; the largest is outlined.

    Args:
        words: The words.
        shares: From 0 to 1.
        mark: Which of them is largest.
    """
    return element(
        "span",
        [
            [
                " " if text.startswith(" ") else None,
                element(
                    "span",
                    text.lstrip(" "),
                    style=f"background:rgba(var(--mark),{0.8 * share:.2f})",
                    class_="most" if number == mark else None,
                ),
            ]
            for number, (text, share) in enumerate(zip(words, shares, strict=True))
        ],
        class_="shaded",
        dir="auto",
    )
