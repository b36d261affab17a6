// The model: unpacked from the page, and a step of it.
const $ = (id) => document.getElementById(id);
const facts = JSON.parse($("facts").textContent);

async function unpacked(id) {
  const text = atob($(id).textContent);
  $(id).remove();
  const bytes = Uint8Array.from(text, (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function problem(text) {
  const shown = $("status");
  shown.className = text ? "problem" : "";
  shown.textContent = text;
  shown.hidden = !text;
}

let session = null;

async function opened() {
  const env = globalThis.ort.env;
  env.wasm.numThreads = 1; // more would need a server that sets headers
  env.wasm.wasmBinary = await unpacked("wasm");
  env.logLevel = "error";
  session = await globalThis.ort.InferenceSession.create(await unpacked("graph"));
}

/** The state before the first step: tensors by the names of the graph's inputs. */
function started() {
  const state = {};
  for (const [name, { shape, values }] of Object.entries(facts.start))
    state[name] = new globalThis.ort.Tensor("float32", Float32Array.from(values), shape);
  return state;
}

/** Return the logits after an input, and the state after it; the state given stays as it is. */
async function stepped(state, type, data, shape) {
  const input = new globalThis.ort.Tensor(type, data, shape);
  const found = await session.run({ ...state, input });
  const after = {};
  const names = session.inputNames.filter((name) => name !== "input");
  const outputs = session.outputNames.filter((name) => name !== "logits");
  names.forEach((name, number) => { after[name] = found[outputs[number]]; });
  return { logits: found.logits.data, state: after };
}

function softmax(logits) {
  let most = -Infinity, sum = 0;
  for (const one of logits) if (one > most) most = one;
  const found = Float64Array.from(logits, (one) => Math.exp(one - most));
  for (const one of found) sum += one;
  return found.map((one) => one / sum);
}

/** Return the numbers of the most probable, the first ones first. */
function likeliest(probabilities, count) {
  const best = [];
  probabilities.forEach((value, number) => {
    if (best.length === count && value <= probabilities[best[count - 1]]) return;
    let place = best.length;
    while (place && probabilities[best[place - 1]] < value) place--;
    best.splice(place, 0, number);
    if (best.length > count) best.pop();
  });
  return best;
}

const percent = (value) =>
  `${value >= 0.0995 || value === 0 ? (100 * value).toFixed(0)
    : (100 * value).toPrecision(2).replace(/e.*/, "")} %`;

function made(name, text, attributes = {}) {
  const found = document.createElement(name);
  found.textContent = text;
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  return found;
}

/** Return bars: names with their probabilities; `shown` makes what is read of a name. */
function bars(pairs) {
  return pairs.map(([name, value]) => {
    const bar = made("span", "", { class: "bar", role: "listitem" });
    bar.append(made("b", name), made("i", percent(value)));
    bar.style.setProperty("--share", `${100 * value}%`);
    return bar;
  });
}

/** Let the page be drawn, and keys be heard. */
const breath = (milliseconds = 0) =>
  new Promise((go) => setTimeout(go, milliseconds));

/** Begin: `ready` is called once the model is there. */
async function begin(ready) {
  try {
    await opened();
    ready();
    $("all").hidden = false;
    problem("");
    document.body.dataset.ready = "yes";
  } catch (error) {
    problem(`The model does not run in this browser (${error.message ?? error}). ` +
      "It needs one of 2023 or newer.");
  }
}
