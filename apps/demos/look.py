"""How the page looks, and the only script of its own: the arrow keys."""

STYLE = """
:root { --mark: 0, 114, 178; --odd: 213, 94, 0; --low: 124, 82, 190; --high: 222, 110, 10;
  --quiet: #5d6570; }
.dark { --mark: 86, 180, 233; --odd: 240, 120, 40; --low: 150, 115, 235; --high: 240, 150, 60;
  --quiet: #a0a7b1; }
h1 { font-size: 1.7rem; font-weight: 700; margin: 0; }
.gradio-container { width: 100% !important; max-width: 72rem !important;
  margin-inline: auto !important; }
.about { color: var(--quiet); font-size: .92rem; margin: 0; overflow-wrap: anywhere; }
.problem {
  border-inline-start: 4px solid #d55e00; padding: .35rem .8rem; margin: .2rem 0;
  background: rgba(213, 94, 0, .1); overflow-wrap: anywhere; white-space: pre-line;
}
.quiet { color: var(--quiet); font-size: .92rem; }
.letters { font: 1.12rem/1.75 ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; position: relative; padding-top: 4.2rem;
  min-height: 7rem; unicode-bidi: plaintext; }
.at { position: static; cursor: default; border-radius: 2px; }
.at:hover, .at:focus { outline: 2px solid rgb(var(--mark)); outline-offset: 1px; }
.walk:focus-visible, .letters:focus-visible {
  outline: 2px solid rgb(var(--mark)); outline-offset: 4px; border-radius: 3px;
}
.sign { opacity: .45; }
.written { border-bottom: 2px solid rgb(var(--mark)); }
.said { display: none; position: absolute; inset: 0 0 auto 0; white-space: nowrap;
  font: .95rem/1.4 system-ui, sans-serif; background: var(--body-background-fill);
  z-index: 3; min-height: 3.9rem; }
.at:hover > .said, .at:focus > .said { display: block; }
.walk:has(.at:hover) .at:focus:not(:hover) > .said,
.letters:has(.at:hover) .at:focus:not(:hover) > .said { display: none; }
.bars { display: flex; gap: .4rem; flex-wrap: wrap; }
.bar { display: inline-flex; gap: .5rem; min-width: 5.2rem; padding: .1rem .45rem;
  border-radius: 4px; border: 1px solid var(--border-color-primary);
  background: linear-gradient(90deg, rgba(var(--mark), .35) var(--share), transparent 0); }
.bar b { font-family: ui-monospace, Menlo, Consolas, monospace; font-weight: 600; flex: 1; }
.bar i { font-style: normal; font-variant-numeric: tabular-nums; opacity: .8; }
.hint { color: var(--quiet); font: .92rem/1.4 system-ui, sans-serif;
  position: absolute; inset: 0 0 auto 0; }
.walk { position: relative; font-size: 1.2rem; line-height: 1.8; white-space: pre-wrap;
  overflow-wrap: anywhere; padding: .1rem 0; }
.pair { position: relative; padding-bottom: 3.4rem; margin-bottom: .8rem;
  border-bottom: 1px solid var(--border-color-primary); }
.pair .walk { position: static; }
.pair .said { inset: auto 0 .5rem 0; white-space: normal; font-size: 1.1rem; min-height: 2.6rem; }
.pair .hint { inset: auto 0 .9rem 0; }
.shaded > span { white-space: pre-wrap; border-radius: 2px; padding: .1rem 0; }
.shaded .most { border-bottom: 3px solid rgb(var(--mark)); }
.role { color: var(--quiet); font-size: .85rem; display: block; }
.looked { position: relative; max-width: 26rem; }
.looked img { display: block; width: 100%; height: auto; border-radius: 6px; }
.looked .walk { position: static; }
.looked .said { inset: 0 0 auto 0; min-height: 0; background: none; white-space: normal; }
.looked .hint { position: static; display: block; }
.room { height: 2.2rem; }
.said-plain { font-size: 1.2rem; margin: 0; }
.pair details { margin: .2rem 0; } .pair summary { cursor: pointer; color: var(--quiet); }
.pair .wide { overflow-x: auto; } .pair table { border-collapse: collapse; font-size: .85rem; }
.pair th, .pair td { padding: .1rem .3rem; text-align: end; font-weight: 400; }
.pair td span { display: inline-block; min-width: 1.8rem; padding: 0 .2rem; }
.gate { display: block; height: .5rem; border-radius: 3px; margin-top: .2rem;
  background: linear-gradient(90deg, rgb(var(--mark)) var(--share), var(--border-color-primary) 0);
}
.now { display: flex; gap: 1rem; align-items: flex-start; flex-wrap: wrap; margin-bottom: .8rem; }
.now img { width: 12rem; max-width: 100%; border-radius: 6px; image-rendering: auto; }
.now > div { flex: 1 1 16rem; min-width: 0; }
.label { font-size: 1.5rem; font-weight: 650; overflow-wrap: anywhere; margin: 0; }
.label i { display: inline-block; width: 1em; height: 1em; border-radius: 3px;
  vertical-align: -.12em; margin-inline-end: .5rem; border: 1px solid var(--border-color-primary); }
.line { position: relative; padding-top: 3.6rem; }
.line .walk { position: static; display: flex; height: 2.6rem; padding: 0; direction: ltr; }
.line .at { min-width: 0; border-radius: 0; }
.line .at:hover, .line .at:focus { z-index: 2; outline-offset: -2px;
  outline-color: var(--body-text-color); }
.line .said { inset: 0 0 auto 0; min-height: 3.4rem; white-space: normal; }
.line svg { display: block; width: 100%; height: 3rem; overflow: visible; }
.line polyline { fill: none; stroke: rgb(var(--mark)); stroke-width: 1.6;
  vector-effect: non-scaling-stroke; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin-top: .4rem; }
.legend i { display: inline-block; width: .9em; height: .9em; border-radius: 2px;
  margin-inline-end: .35rem; vertical-align: -.08em;
  border: 1px solid var(--border-color-primary); }
.ends { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
@media (max-width: 40rem) {
  .letters { padding-top: 7rem; } .letters .said { min-height: 6.6rem; white-space: normal; }
}
@media (prefers-reduced-motion: reduce) {
  * { animation: none !important; transition: none !important; }
}
"""

SCRIPT = """<script>
document.addEventListener("keydown", event => {
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  const here = event.target.closest?.(".walk, .letters");
  if (!here || !(step || event.key === "Home" || event.key === "End")) return;
  const words = [...here.querySelectorAll(".at")];
  if (!words.length) return;
  const place = words.indexOf(event.target);
  const next = event.key === "Home" ? 0 : event.key === "End" ? words.length - 1
    : place < 0 ? (step > 0 ? 0 : words.length - 1)
    : Math.max(0, Math.min(words.length - 1, place + step));
  event.preventDefault();
  words[next].focus();
});
</script>"""
