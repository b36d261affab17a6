// A browser starts no worker for a page that was opened as a file. Where it is one, a hidden frame
// does the worker's work: the search, whose script asks for a frame by this name.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super();
      this.url = String(url);
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.setAttribute("aria-hidden", "true");
      this.ready = new Promise((done) => {
        const start = () => {
          document.body.append(frame);
          const inside = frame.contentWindow;
          inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
          inside.importScripts = (...scripts) =>
            scripts.reduce(
              (before, script) => before.then(() => this.load(frame, script)),
              Promise.resolve()
            );
          this.load(frame, this.url).then(() => done(inside));
        };
        document.body ? start() : addEventListener("DOMContentLoaded", start);
      });
    }

    load(frame, url) {
      return new Promise((done, failed) => {
        const script = frame.contentDocument.createElement("script");
        script.onload = done;
        script.onerror = failed;
        script.src = url;
        frame.contentDocument.body.append(script);
      });
    }

    postMessage(data) {
      this.ready.then((inside) => inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {}
  };
  window.Worker = window.IFrameWorker;
}
