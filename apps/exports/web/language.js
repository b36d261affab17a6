// A language model: it reads what is typed, and writes on.

const vocabulary = vocabularyOf(facts.vocabulary);
const KEPT = 64; // a state is kept every so many symbols, to go on from when the text is changed
const DRAWN = 30; // milliseconds from one drawing to the next

/** A generator of numbers from 0 to 1 (mulberry32), the same for a seed in every browser. */
function randomOf(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Draw a symbol; temperature 0 takes the most probable. */
function drawn(logits, temperature, random) {
  let best = -1, most = -Infinity;
  const allowed = Float64Array.from(logits);
  for (const one of vocabulary.never) allowed[one] = -Infinity;
  const probabilities = temperature ? softmax(allowed.map((one) => one / temperature)) : allowed;
  probabilities.forEach((value, number) => {
    // the largest p / e, e exponential, is drawn with probability p
    const worth = temperature ? value / Math.max(1e-300, -Math.log(1 - random())) : value;
    if (worth > most) { most = worth; best = number; }
  });
  return best;
}

// What was read: entries {id, nats, best, state?, written}; `now` is where the model stands.
let origin = null, now = null;
const log = [];

async function read(id, written) {
  const probabilities = softmax(now.logits);
  const best = likeliest(probabilities, 5).map((one) => [one, probabilities[one]]);
  log.push({ id, nats: -Math.log(probabilities[id]), best, written });
  now = await stepped(now.state, "int64", BigInt64Array.of(BigInt(id)), [1]);
  if (log.length % KEPT === 0) log.at(-1).after = now;
}

/** Go back to the first symbols of what was read. */
async function back(count) {
  if (count === log.length && now) return;
  if (!origin)
    origin = await stepped(started(), "int64", BigInt64Array.of(BigInt(vocabulary.end)), [1]);
  let from = count;
  while (from > 0 && !log[from - 1].after) from--;
  now = from ? log[from - 1].after : origin;
  const again = log.slice(from, count);
  log.length = from;
  for (const entry of again) await read(entry.id, entry.written);
}

// Drawing: a piece is what is shown of one symbol, of bytes what is shown of one character.
let pieces = [], writer = null, shown = 0, open = null;

/** Take away what is shown of all but the first symbols. */
function undraw(count) {
  if (count >= shown) return;
  while (pieces.length && pieces.at(-1).until > count) {
    pieces.pop();
    $("letters").lastChild.remove();
  }
  shown = pieces.length ? pieces.at(-1).until : 0;
  open = null;
  writer = vocabulary.writer(shown ? log[shown - 1].id : vocabulary.end);
}

function draw() {
  writer ??= vocabulary.writer(vocabulary.end);
  const added = document.createDocumentFragment();
  for (; shown < log.length; shown++) {
    const { id, nats, best, written } = log[shown];
    open ??= { text: "", nats: 0, best, until: 0 };
    open.nats += nats;
    open.until = shown + 1;
    open.text = writer(id);
    if (!open.text && id !== vocabulary.end) continue; // in the middle of a character
    const ended = id === vocabulary.end;
    const letter = made("span", ended ? " end " : open.text, {
      class: `at${written ? " written" : ""}${ended ? " end" : ""}`,
      "data-probability": Math.exp(-open.nats).toPrecision(9),
    });
    letter.style.setProperty("--odd", Math.min(1, open.nats / Math.LN2 / 12).toFixed(3));
    letter.piece = pieces.push(open) - 1;
    added.append(letter);
    open = null;
  }
  $("letters").append(added);
  const read = log.filter((one) => !one.written);
  const bits = read.reduce((sum, one) => sum + one.nats, 0) / Math.LN2;
  const wrote = log.length - read.length;
  const many = (count) => `${count.toLocaleString("en")} ${vocabulary.noun}${count === 1 ? "" : "s"}`;
  $("count").textContent = [
    read.length ? `${many(read.length)} read, ${(bits / read.length).toFixed(2)} bits each` : "",
    wrote ? `${many(wrote)} written` : "",
  ].filter(Boolean).join("; ");
  const probabilities = softmax(now.logits);
  $("next").replaceChildren(...bars(
    likeliest(probabilities, 5).map((one) => [vocabulary.name(one), probabilities[one]])));
  if (!walk.here()) tell(null);
}

function tell(letter) {
  const piece = letter && pieces[letter.piece];
  const said = $("said");
  if (!piece) {
    said.replaceChildren(made("span", "The stronger the colour, the less likely; what the model wrote is " +
      "underlined. Move over a character, or walk with the arrow keys.", { class: "quiet" }));
    return;
  }
  const text = piece.text ? visible(piece.text) : "end";
  const line = made("p", "");
  line.append(made("b", text), made("span",
    ` had ${percent(Math.exp(-piece.nats))}, ${(piece.nats / Math.LN2).toFixed(1)} bits. ` +
    "The likeliest were:"));
  const list = made("div", "", { class: "bars", role: "list" });
  list.append(...bars(piece.best.map(([one, value]) => [vocabulary.name(one), value])));
  said.replaceChildren(line, list);
}

const walk = walkable($("letters"), tell);

// What was asked for last is done; what is being done then ends at its next symbol.
let asked = null, busy = false;

async function ask(request) {
  asked = request;
  if (busy) return;
  busy = true;
  document.body.dataset.busy = "yes";
  while (asked) {
    const request = asked;
    asked = null;
    try {
      await perform(request, () => asked !== null);
    } catch (error) {
      problem(`The model failed: ${error.message ?? error}`);
    }
  }
  busy = false;
  delete document.body.dataset.busy;
  $("stop").disabled = true;
}

function lacks(lacking) {
  const note = $("note");
  note.hidden = !lacking.size;
  if (!lacking.size) return;
  const some = [...lacking].slice(0, 5).map(([one, count]) => `“${visible(one)}” (${count} x)`);
  const more = lacking.size > 5 ? ` and ${lacking.size - 5} more` : "";
  note.textContent = `The model never saw ${some.join(", ")}${more}: ` +
    (vocabulary.kind === "words" ? "read as the unknown word." : "left out.");
}

async function perform({ stop, write, whole }, over) {
  if (stop) return draw();
  const { ids, lacking } = vocabulary.read($("text").value, whole);
  lacks(lacking);
  let same = 0;
  while (same < ids.length && same < log.length && log[same].id === ids[same] &&
    !log[same].written) same++;
  undraw(same);
  await back(same);
  let last = performance.now();
  for (const id of ids.slice(same)) {
    await read(id, false);
    if (performance.now() - last < DRAWN) continue;
    draw();
    await breath();
    if (over()) return;
    last = performance.now();
  }
  draw();
  if (write && !over()) await writeOn(over);
}

async function writeOn(over) {
  const temperature = Number($("temperature").value), pace = Number($("pace").value);
  const length = Math.max(1, Math.min(10000, Math.trunc(Number($("length").value)) || 1));
  const given = $("seed").value;
  const random = randomOf(given === "" ? crypto.getRandomValues(new Uint32Array(1))[0]
    : Number(given));
  $("stop").disabled = false;
  let last = performance.now();
  for (let number = 0; number < length; number++) {
    const id = drawn(now.logits, temperature, random);
    await read(id, true);
    if (pace || performance.now() - last > DRAWN) {
      draw();
      await breath(pace);
      last = performance.now();
    }
    if (over() || id === vocabulary.end) break;
  }
  draw();
}

begin(() => {
  $("hint").textContent = `The model reads what you type, ${vocabulary.kind === "bytes" ? "a byte"
    : `a ${vocabulary.noun}`} at a time.`;
  $("text").addEventListener("input", () => ask({ write: $("live").checked }));
  $("write").addEventListener("click", () => ask({ write: true, whole: true }));
  const stop = () => { if (busy) ask({ stop: true }); };
  $("stop").addEventListener("click", stop);
  $("temperature").addEventListener("input", () => {
    $("warm").value = Number($("temperature").value) ? $("temperature").value : "0, the likeliest";
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") stop();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      ask({ write: true, whole: true });
    }
  });
  ask({ write: false });
});
