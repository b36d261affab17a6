// What one moves over, with the mouse or the arrow keys, and what is then said of it.

/**
 * Let people move over the children of an element of the class `at`.
 *
 * @param {Element} place The element, which takes the focus.
 * @param {(child: Element | null) => void} tell Says what is to be said of a child; null: of none.
 */
function walkable(place, tell) {
  let here = null;
  const go = (child) => {
    here?.classList.remove("here");
    here = child;
    here?.classList.add("here");
    tell(here);
  };
  place.addEventListener("pointermove", (event) => {
    const over = event.target.closest?.(".at");
    if (over && over !== here) go(over);
  });
  place.addEventListener("pointerleave", () => go(null));
  place.addEventListener("blur", () => go(null));
  place.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step && event.key !== "Home" && event.key !== "End") return;
    const all = place.children;
    if (!all.length) return;
    event.preventDefault();
    const now = here && here.parentNode === place ? [].indexOf.call(all, here) : -1;
    let next = now < 0 ? (step > 0 ? 0 : all.length - 1) : now + step;
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = all.length - 1;
    go(all[Math.max(0, Math.min(all.length - 1, next))]);
    here.scrollIntoView({ block: "nearest" });
  });
  return { here: () => (here && here.isConnected ? here : null) };
}
