// A model that labels frames as they come, from a camera or a file.

const { classes, image_size: side, stride, thresholds, colours } = facts;
const REMEMBERED = 100000, SEGMENTS = 300, POINTS = 400; // what is kept and drawn of a long stream
const DRAWN = 100; // milliseconds from one drawing of the line to the next
const canvas = document.createElement("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });
const video = $("video");

// What was seen: the state, the frames' labels, and segments {name, start, end} of equal ones.
let state, frames, segments, waiting, latest, missed;

function forget() {
  state = started();
  frames = []; segments = []; waiting = 0; latest = null; missed = 0;
  $("name").textContent = "-";
  $("sure").textContent = "\u00a0";
  $("swatch").hidden = true;
  $("classes").replaceChildren();
  $("forget").disabled = $("save").disabled = true;
  note("");
  draw();
}

function note(text) {
  $("note").textContent = text;
  $("note").hidden = !text;
}

/** The colour of a label: of several at a time one of their own. */
const together = new Map();
function colour(name) {
  const number = classes.indexOf(name);
  if (number >= 0) return `rgb(${colours[number]})`;
  if (!name) return "rgb(200, 200, 200)";
  if (!together.has(name)) together.set(name, (together.size * 137.5) % 360);
  return `hsl(${together.get(name)} 45% 60%)`;
}

/** Label the frame that the video shows, or, between those that are read, repeat the label. */
async function labelled() {
  if (!waiting) {
    const { videoWidth: width, videoHeight: height } = video;
    if (!width) return null;
    if (canvas.width !== width || canvas.height !== height)
      Object.assign(canvas, { width, height });
    context.drawImage(video, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height).data;
    const input = squared(pixels, width, height, side);
    const found = await stepped(state, "uint8", input, [1, 3, side, side]);
    state = found.state;
    latest = named(found.logits);
    waiting = stride;
  }
  waiting--;
  return latest;
}

function named(logits) {
  if (!thresholds) {
    const scores = softmax(logits), [best] = likeliest(scores, 1);
    return { name: classes[best], probability: scores[best], scores };
  }
  const scores = Float64Array.from(logits, (one) => 1 / (1 + Math.exp(-one)));
  const there = classes.map((_, number) => number).filter((one) => scores[one] >= thresholds[one]);
  // of the least sure of them; of none, that there is none of the likeliest
  const probability = there.length ? Math.min(...there.map((one) => scores[one]))
    : 1 - Math.max(...scores);
  return { name: there.map((one) => classes[one]).join(" + "), probability, scores, there };
}

function add(label, time) {
  const number = frames.length;
  frames.push({ ...label, time });
  const last = segments.at(-1);
  if (last?.name === label.name) last.end = number + 1;
  else segments.push({ name: label.name, start: number, end: number + 1 });
}

let drawn = 0;
function show(label) {
  $("name").textContent = label.name || "(none)";
  $("swatch").hidden = false;
  $("swatch").style.background = colour(label.name);
  $("sure").textContent = `${percent(label.probability)}, frame ${frames.length - 1}`;
  $("classes").replaceChildren(...bars(
    likeliest(label.scores, 5).map((one) => [classes[one], label.scores[one]])));
  $("forget").disabled = $("save").disabled = false;
  if (performance.now() - drawn > DRAWN) draw();
}

const at = (frame) => (frames[frame] ? `${frames[frame].time.toFixed(2)} s` : "");

function draw() {
  drawn = performance.now();
  const part = segments.slice(-SEGMENTS), first = part[0]?.start ?? 0;
  // those that are there stay, so that one can walk over them while more come
  const line = $("line");
  while (line.children.length > part.length) line.firstChild.remove();
  while (line.children.length < part.length) line.append(made("span", "", { class: "at" }));
  part.forEach((segment, number) => {
    const band = line.children[number];
    band.segment = segment;
    band.style.flexGrow = segment.end - segment.start;
    band.style.background = colour(segment.name);
  });
  const sure = frames.slice(first), group = Math.max(1, Math.ceil(sure.length / POINTS));
  const low = [];
  for (let place = 0; place < sure.length; place += group)
    low.push(Math.min(...sure.slice(place, place + group).map((one) => one.probability)));
  $("sureness").firstElementChild.setAttribute("points", low.map((value, place) =>
    `${(100 * place / Math.max(1, low.length - 1)).toFixed(2)},${(100 - 100 * value).toFixed(1)}`)
    .join(" "));
  $("from").textContent = at(first);
  $("until").textContent = at(frames.length - 1);
  const names = [...new Set(segments.map((one) => one.name))].slice(0, 60);
  if ($("legend").children.length !== names.length || !names.length)
    $("legend").replaceChildren(...names.map((name) => {
      const entry = made("span", ""), square = made("i", "");
      square.style.background = colour(name);
      entry.append(square, name || "(none)");
      return entry;
    }));
  if (!walk.here()) tell(null);
}

function tell(band) {
  const said = $("said");
  if (!band?.segment) {
    const count = segments.length;
    said.replaceChildren(made("span", frames.length
      ? `${frames.length.toLocaleString("en")} frames, ${count} segment${count === 1 ? "" : "s"}` +
        (count > SEGMENTS ? `; the last ${SEGMENTS} are drawn` : "") +
        ". Move over one, or walk with the arrow keys."
      : "Segments of equal labels come here."));
    return;
  }
  const { name, start, end } = band.segment;
  const sum = frames.slice(start, end).reduce((all, one) => all + one.probability, 0);
  said.replaceChildren(made("b", name || "(none)"), made("span",
    ` ${at(start)} to ${at(end - 1)}, frames ${start} to ${end - 1}; ` +
    `sure to ${percent(sum / (end - start))} in the mean`));
}

const walk = walkable($("line"), tell);

// One source at a time; what a frame of another one brings is thrown away.
let turn = 0, source = null, url = "";

function stopped() {
  turn++;
  video.pause();
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  source = null;
  $("stop").disabled = true;
  delete document.body.dataset.busy;
}

/** Read each new frame that is shown; frames that come while one is read are missed. */
async function follow(mine, live) {
  const began = performance.now();
  let before = null, last = null, go = null;
  const next = () => new Promise((resolve) => {
    go = resolve;
    if (!video.requestVideoFrameCallback)
      setTimeout(() => resolve({ mediaTime: video.currentTime }), 33);
    else video.requestVideoFrameCallback((_, facts) => resolve(facts));
  });
  const ended = () => setTimeout(() => go(null), 100); // the last frame comes first
  if (!live) video.addEventListener("ended", ended, { once: true });
  for (;;) {
    const facts = await next();
    if (mine !== turn) return;
    if (!facts) break;
    if (facts.mediaTime === last) continue;
    last = facts.mediaTime;
    if (before !== null && facts.presentedFrames > before + 1) {
      missed += facts.presentedFrames - before - 1;
      // a file can wait
      if (!live) video.playbackRate = Math.max(0.1, video.playbackRate / 2);
    }
    before = facts.presentedFrames ?? null;
    if (frames.length >= REMEMBERED) {
      stopped();
      note(`${REMEMBERED.toLocaleString("en")} frames were labelled: forget them to go on.`);
      return;
    }
    const label = await labelled();
    if (mine !== turn) return;
    if (!label) continue;
    add(label, live ? (performance.now() - began) / 1000 : facts.mediaTime);
    show(label);
  }
  stopped();
  draw();
  const count = segments.length;
  note(`${frames.length.toLocaleString("en")} frames, ${count} segment${count === 1 ? "" : "s"}` +
    (missed ? `; ${missed} frames were not read: they came too fast.` : "."));
}

async function play(open, live) {
  stopped();
  const mine = turn;
  note("");
  try {
    const opened = await open();
    if (mine !== turn) return opened.srcObject?.getTracks().forEach((one) => one.stop());
    forget();
    source = opened;
    $("blank").hidden = true;
    const before = url; // whose last frame was shown until now
    url = opened.url ?? "";
    if (url) video.src = url;
    else {
      video.removeAttribute("src");
      video.srcObject = opened.srcObject;
    }
    URL.revokeObjectURL(before);
    video.playbackRate = 1;
    $("stop").disabled = false;
    document.body.dataset.busy = "yes";
    const followed = follow(mine, live);
    await video.play();
    await followed;
  } catch (error) {
    if (mine !== turn) return;
    stopped();
    draw();
    note(live ? `The camera can't be used: ${error.message ?? error}.`
      : `This file can't be played by the browser: ${error.message ?? error}`);
  }
}

function save() {
  const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const head = ["frame", "time", ...(thresholds ? classes : ["label", "probability"])];
  const rows = frames.map(({ name, probability, there, time }, number) => [
    number, time.toFixed(4),
    ...(thresholds ? classes.map((_, one) => (there.includes(one) ? 1 : 0))
      : [name, probability.toFixed(4)]),
  ]);
  const text = [head, ...rows].map((row) => `${row.map(String).map(cell).join(",")}\n`).join("");
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  made("a", "", { href: url, download: "labels.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

begin(() => {
  const notes = ["Nothing of what the camera shows leaves this page."];
  if (stride > 1) notes.push(`The model looks at one of ${stride} frames.`);
  if (facts.median > 1 || facts.min_length > 1)
    notes.push("Labels are not smoothed, as those of whole videos are.");
  $("hint").textContent = notes.join(" ");
  $("camera").addEventListener("click", () => play(async () => {
    if (!navigator.mediaDevices)
      throw new Error("this browser gives none to a page from a file; serve the folder on this " +
        "machine, with python -m http.server --bind 127.0.0.1");
    return { srcObject: await navigator.mediaDevices.getUserMedia({ audio: false,
      video: { width: { ideal: 640 }, height: { ideal: 480 } } }) };
  }, true));
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    $("file").value = "";
    if (file) play(async () => ({ url: URL.createObjectURL(file) }), false);
  });
  $("stop").addEventListener("click", () => { stopped(); draw(); });
  $("forget").addEventListener("click", forget);
  $("save").addEventListener("click", save);
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && source) { stopped(); draw(); }
  });
  forget();
});
