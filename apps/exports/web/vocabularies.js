// From text to the numbers of symbols and back, as `unrolled` does it.

// white space as Python has it, by which words are parted
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const WORDS = new RegExp(`\\n|[^${SPACE}]+`, "g");
const UNFINISHED = new RegExp(`[^${SPACE}]+$`);
const MARKS = { " ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", "\u00a0": "⍽" };

function visible(text) {
  return Array.from(text, (one) => {
    if (MARKS[one]) return MARKS[one];
    if (one.codePointAt(0) < 32) return String.fromCharCode(0x2400 + one.charCodeAt(0));
    if (/\p{M}/u.test(one)) return `◌${one}`;
    return /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(one) ? "\ufffd" : one;
  }).join("");
}

/**
 * Make a vocabulary of what `vocabulary.json` says.
 *
 * `read(text, whole)` returns numbers, how often there was what it lacks, and, unless `whole`,
 * leaves out a word that may go on. `writer(after)` returns what turns numbers into text, one after
 * the other. `name(number)` is what a bar is called.
 */
function vocabularyOf({ kind, end, never_written: never, symbols }) {
  const numbers = new Map(symbols.map((symbol, number) => [symbol, number]));
  numbers.delete(null);
  const unknown = 1;
  const told = (number) => (number === end ? "end" : "unknown");

  if (kind === "bytes")
    return {
      kind, end, never, size: symbols.length, noun: "byte",
      read: (text) => ({ ids: Array.from(new TextEncoder().encode(text), (one) => one + 1),
        lacking: new Map() }),
      writer: () => {
        const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
        return (number) =>
          number === end ? "" : decoder.decode(Uint8Array.of(symbols[number]), { stream: true });
      },
      name: (number) => {
        if (number === end) return told(number);
        const byte = symbols[number];
        return byte < 128 ? visible(String.fromCharCode(byte)) : `0x${byte.toString(16)}`;
      },
    };

  const words = kind === "words";
  return {
    kind, end, never, size: symbols.length, noun: words ? "word" : "character",
    read: (text, whole) => {
      const parts = words
        ? (whole ? text : text.replace(UNFINISHED, "")).match(WORDS) ?? []
        : Array.from(text);
      const ids = [], lacking = new Map();
      for (const part of parts) {
        const number = numbers.get(part);
        if (number === undefined) lacking.set(part, (lacking.get(part) ?? 0) + 1);
        // an unknown word is a symbol that the model has learnt; a character is left out
        if (number !== undefined || words) ids.push(number ?? unknown);
      }
      return { ids, lacking };
    },
    writer: (after) => {
      let inside = words && after !== end && after !== 2;
      return (number) => {
        if (number === end) { inside = false; return ""; }
        const text = number === unknown ? "\ufffd" : symbols[number];
        const space = words && inside && number !== 2 ? " " : "";
        inside = words && number !== 2;
        return space + text;
      };
    },
    name: (number) => (symbols[number] === null ? told(number) : visible(symbols[number])),
  };
}
