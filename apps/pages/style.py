"""How a page looks: light, dark, and on paper."""

from .html import Html

STYLE = Html("""
:root {
  color-scheme: light dark;
  --ground: #ffffff; --card: #f6f7f9; --ink: #1e1e1e; --quiet: #5d6570; --line: #dcdfe4;
  --accent: #0b62a4; --mark: 0, 114, 178;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #15171a; --card: #1e2125; --ink: #e7e8ea; --quiet: #a0a7b1; --line: #353a41;
    --accent: #6db6f2; --mark: 86, 180, 233;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 84rem;
  background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 {
  font-size: 1.3rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line);
}
h3 { font-size: 1.02rem; margin: 1.4rem 0 .5rem; overflow-wrap: anywhere; }
p { max-width: 46rem; }
.quiet, figcaption, caption { color: var(--quiet); font-size: .9rem; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; margin-top: 1rem; }
.runs { display: grid; gap: 1.2rem 2rem; }
.runs.several { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.runs > * { min-width: 0; }
.wide { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: start; padding-bottom: .35rem; }
th, td {
  padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  text-align: start; unicode-bidi: plaintext; overflow-wrap: break-word; white-space: pre-wrap;
  min-width: 3.5rem; max-width: 34rem;
}
th { font-weight: 600; }
thead th { color: var(--quiet); font-weight: 500; }
.confusion td { text-align: end; padding: .32rem .6rem; }
pre {
  margin: .6rem 0; padding: .9rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; overflow: auto; max-height: 34rem; font-size: .86rem; line-height: 1.45;
  unicode-bidi: plaintext;
}
pre.text { white-space: pre-wrap; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Noto Sans Mono", monospace; }
figure { margin: 0 0 1.4rem; }
.pictures {
  display: grid; gap: 1rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
}
figure img {
  display: block; width: 100%; max-width: 44rem; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: 8px; padding: .5rem;
}
summary { cursor: pointer; color: var(--accent); padding: .2rem 0; }
.missing { border-inline-start: 4px solid #d55e00; padding: .1rem 1rem; background: var(--card); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media screen and (prefers-color-scheme: dark) {
  /* drawings of lines have no colour that means light or dark, so paper may turn to slate */
  img.lines { filter: invert(.91) hue-rotate(180deg); }
}
@media print {
  :root {
    --ground: #ffffff; --card: #ffffff; --ink: #000000; --quiet: #444444; --line: #bbbbbb;
    --accent: #000000;
  }
  body { font-size: 10.5pt; padding: 0; max-width: none; }
  nav { display: none; }
  h2, h3, caption { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  pre { max-height: none; white-space: pre-wrap; overflow-wrap: anywhere; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
}
""")
