// The page of running environments. All text of guests goes into text nodes.

const page = document.getElementById("page");
const nonce = document.querySelector("link[nonce]").nonce;

// xterm makes style sheets for its size and colours; the policy takes those with the nonce of this page.
const make = document.createElement.bind(document);
document.createElement = (tag, options) => {
  const node = make(tag, options);
  if (String(tag).toLowerCase() === "style") node.nonce = nonce;
  return node;
};

function el(tag, properties = {}, ...children) {
  const node = make(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

const button = (label, act, properties = {}) => el("button", { type: "button", onclick: act, ...properties }, label);
const when = (seconds) => new Date(seconds * 1000).toLocaleString();
const mib = (bytes) => `${Math.round(bytes / 1048576)} MiB`;

async function get(path) {
  const answer = await fetch(path);
  if (answer.status === 401) throw { what: "this page was opened by another lago web", hint: "open the address that lago web has printed" };
  const data = await answer.json();
  if (!answer.ok) throw data;
  return data;
}

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const data = await answer.json();
  if (!answer.ok) throw data;
  return data;
}

/** What was done or failed, said where a screen reader hears it. */
class Words {
  constructor() {
    this.node = el("div", { class: "wp-words", role: "status", "aria-live": "polite" });
  }
  say(text) {
    this.node.replaceChildren(el("p", {}, text), this.close());
  }
  busy(text) {
    this.node.replaceChildren(el("p", { class: "wp-busy" }, text));
  }
  fail(error) {
    const { what = String(error.message ?? error), details, hint } = error;
    this.node.replaceChildren(
      el("div", { class: "wp-error", role: "alert" }, el("strong", {}, what), details ? el("pre", {}, details) : null, hint ? el("p", {}, `hint: ${hint}`) : null),
      this.close(),
    );
  }
  close() {
    return button("×", () => this.node.replaceChildren(), { class: "wp-close", "aria-label": "Dismiss" });
  }
}

/** One environment. */
class Environment {
  constructor(about, all) {
    Object.assign(this, about, { all });
    this.words = new Words();
    this.windows = new Map();
    this.facts = null;
    this.build();
    this.follow();
    this.refresh();
    this.timer = setInterval(() => this.refresh(), 15000);
  }

  build() {
    this.viewerRoot = el("div", { class: "wp-viewer" });
    this.machines = el("div", { class: "wp-grid" });
    this.snapshots = el("div", {});
    this.faults = el("div", {});
    this.logs = el("div", {});
    this.tray = el("div", { class: "wp-tray" });
    const card = (id, title, ...inside) => el("section", { class: "wp-card", "aria-labelledby": `${id}-${this.uuid}` }, el("h2", { id: `${id}-${this.uuid}` }, title), ...inside);
    this.node = el(
      "div",
      { class: "wp-env" },
      this.words.node,
      card("wm", "Machines", this.machines, this.tray),
      el("div", { class: "wp-two" }, card("ws", "Snapshots", this.snapshots), card("wf", "Faults", this.faults)),
      card("wt", "What happens", this.viewerRoot),
      card("wl", "Logs", this.logs),
    );
    this.viewer = new LagoViewer(this.viewerRoot, { live: true });
    // The viewer's parts are landmarks of a report; here they are within one.
    this.viewerRoot.querySelector("main")?.setAttribute("role", "presentation");
    this.viewerRoot.querySelector("header")?.setAttribute("role", "presentation");
  }

  follow() {
    this.source = new EventSource(`/api/${this.uuid}/events`);
    this.source.onopen = () => this.seen = 0;
    this.source.onmessage = (event) => {
      let entries = JSON.parse(event.data);
      // After a broken connection all comes again.
      const skip = Math.max(0, (this.had ?? 0) - this.seen);
      this.seen += entries.length;
      entries = entries.slice(skip);
      this.had = Math.max(this.had ?? 0, this.seen);
      if (!entries.length) return;
      this.viewer.append(entries);
      if (entries.some((one) => ["state", "end", "fault", "lease", "ssh", "fork"].includes(one.kind))) this.soon();
    };
    this.source.addEventListener("gone", () => {
      this.source.close();
      clearInterval(this.timer);
      this.words.say("This environment was destroyed.");
    });
  }

  soon() {
    clearTimeout(this.later);
    this.later = setTimeout(() => this.refresh(), 250);
  }

  async refresh() {
    try {
      this.facts = await get(`/api/${this.uuid}/facts`);
    } catch (error) {
      this.words.fail(error);
      return;
    }
    const focused = document.activeElement?.dataset?.key;
    this.showMachines();
    this.showSnapshots();
    this.showFaults();
    this.showLogs();
    if (focused) this.node.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  async act(verb, given, saying) {
    this.words.busy(`${saying} …`);
    for (const one of this.node.querySelectorAll("[data-act]")) one.disabled = true;
    try {
      const { said } = await post(`/api/${this.uuid}/${verb}`, given);
      this.words.say(said);
    } catch (error) {
      this.words.fail(error);
    } finally {
      for (const one of this.node.querySelectorAll("[data-act]")) one.disabled = false;
      await this.refresh();
      if (verb === "fork" && this.all.reload) this.all.reload();
    }
  }

  acting(label, verb, given, saying, properties = {}) {
    if (this.all.read_only) return null;
    return button(label, () => this.act(verb, given, saying), { "data-act": verb, "data-key": `${verb} ${JSON.stringify(given)}`, ...properties });
  }

  showMachines() {
    const { machines, networks } = this.facts;
    const cards = Object.entries(machines).map(([name, vm]) => {
      const running = vm.state === "running";
      const open = (how, label) =>
        this.all.read_only ? null : button(label, () => this.open(name, how), { disabled: !running, "data-key": `${how} ${name}`, "aria-label": `${label} of ${name}` });
      return el(
        "article",
        { class: `wp-machine ${running ? "wp-up" : "wp-down"}`, "aria-label": name },
        el("h3", {}, el("i", { class: "wp-dot", "aria-hidden": "true" }), name, el("span", { class: "wp-state" }, vm.state)),
        el("dl", {}, ...vm.nics.flatMap((nic) => [el("dt", {}, nic.net), el("dd", {}, nic.ip ?? "no address")])),
        el(
          "div",
          { class: "wp-row" },
          open("shell", "Shell"),
          open("console", "Console"),
          open("screen", "Screen"),
          running
            ? this.acting("Stop", "stop", { vm: name }, `stopping ${name}`, { "aria-label": `Stop ${name}` })
            : this.acting("Start", "start", { vm: name }, `starting ${name}`, { "aria-label": `Start ${name}` }),
        ),
      );
    });
    const nets = Object.entries(networks).map(([name, net]) =>
      el("li", { class: net.state === "up" ? "wp-up" : "wp-down" }, el("i", { class: "wp-dot", "aria-hidden": "true" }), el("b", {}, name), ` ${net.state} ${net.gateway ?? ""}`),
    );
    this.machines.replaceChildren(...cards);
    this.netlist ??= this.machines.after(el("ul", { class: "wp-nets", "aria-label": "Networks" })) ?? this.machines.nextSibling;
    this.netlist.replaceChildren(...nets);
  }

  showSnapshots() {
    const { snapshots } = this.facts;
    const tree = (parent) => {
      const below = snapshots.filter((one) => one.parent === parent);
      return below.length
        ? el(
            "ul",
            { class: "wp-tree" },
            ...below.map((one) =>
              el(
                "li",
                {},
                el(
                  "div",
                  { class: "wp-snapshot" },
                  el("span", {}, el("b", {}, one.name), one.description ? ` ${one.description}` : "", el("small", {}, `${when(one.created)} · ${mib(one.bytes)}${one.memory ? " · with memory" : ""}`)),
                  el(
                    "span",
                    { class: "wp-row" },
                    this.acting("Revert", "revert", { name: one.name }, `going back to ${one.name}`, { "aria-label": `Revert to ${one.name}` }),
                    this.asking("Fork", `Name of the fork of ${one.name}`, (name) => ["fork", { name, from: one.name }, `forking ${one.name}`], `fork ${one.name}`),
                    this.acting("Delete", "delete", { name: one.name }, `removing ${one.name}`, { "aria-label": `Delete ${one.name}` }),
                  ),
                ),
                tree(one.name),
              ),
            ),
          )
        : null;
    };
    this.taking ??= this.form("Take", "Name of a snapshot", (name) => ["snapshot", { name }, `taking ${name}`], this.asking("Fork now", "Name of the fork", (name) => ["fork", { name }, "forking"], "fork"));
    this.snapshotTree ??= el("div", {});
    this.snapshotTree.replaceChildren(tree(null) ?? el("p", { class: "wp-dim" }, "There is no snapshot."));
    if (!this.snapshots.childElementCount) this.snapshots.append(...[this.taking, this.snapshotTree].filter(Boolean));
  }

  showFaults() {
    const { faults, kinds, named } = this.facts;
    this.breaking ??= this.form(
      "Break",
      "Fault, such as: cut vm0",
      (words) => ["fault", { words }, `breaking: ${words}`],
      this.acting("Heal all", "heal", {}, "healing"),
      [...kinds.map((kind) => [`${kind.name} `, kind.help]), ...named.map((name) => [name, "of the init file"])],
    );
    this.faultList ??= el("ul", { class: "wp-faults", "aria-label": "What is broken" });
    this.faultList.replaceChildren(
      ...(faults.length
        ? faults.map((one) =>
            el("li", {}, el("span", {}, el("b", {}, one.words), el("small", {}, `${one.id} · since ${when(one.since)}`)), this.acting("Heal", "heal", { id: one.id }, `healing ${one.id}`, { "aria-label": `Heal ${one.words}` })),
          )
        : [el("li", { class: "wp-dim" }, "Nothing is broken on purpose.")]),
    );
    if (!this.faults.childElementCount) this.faults.append(...[this.breaking, this.faultList].filter(Boolean));
  }

  /** A field with a button, of which what is typed into it is told. */
  form(label, ask, what, more = null, choices = []) {
    if (this.all.read_only) return null;
    const list = choices.length ? `list-${label}-${this.uuid}` : null;
    const input = el("input", { "aria-label": ask, placeholder: ask, required: true, autocomplete: "off", spellcheck: "false", list });
    const node = el(
      "form",
      { class: "wp-row" },
      input,
      el("button", { "data-act": label }, label),
      more,
      list ? el("datalist", { id: list }, ...choices.map(([value, help]) => el("option", { value }, help))) : null,
    );
    node.addEventListener("submit", (event) => {
      event.preventDefault();
      const said = what(input.value.trim());
      input.value = "";
      this.act(...said);
    });
    return node;
  }

  /** A button that asks for a name first. */
  asking(label, ask, what, key) {
    if (this.all.read_only) return null;
    return button(label, (event) => {
      const input = el("input", { "aria-label": ask, required: true });
      const dialog = el("dialog", { class: "wp-ask", "aria-label": ask }, el("form", { method: "dialog" }, el("label", {}, ask, input), el("div", { class: "wp-row" }, el("button", { value: "yes" }, label), button("Cancel", () => dialog.close()))));
      page.append(dialog);
      dialog.addEventListener("close", () => {
        dialog.remove();
        event.target.focus();
        if (dialog.returnValue === "yes" && input.value.trim()) this.act(...what(input.value.trim()));
      });
      dialog.showModal();
    }, { "data-act": "ask", "data-key": key, "aria-label": `${label}: ${ask}` });
  }

  showLogs() {
    if (this.logs.childElementCount) return;
    const out = el("pre", { class: "wp-log", tabindex: "0", "aria-label": "Console log", hidden: true });
    const buttons = Object.keys(this.facts.machines).map((name) =>
      button(name, async () => {
        try {
          const { lines } = await get(`/api/${this.uuid}/logs/${encodeURIComponent(name)}`);
          out.textContent = lines.join("\n") || `${name} has said nothing.`;
          out.hidden = false;
          out.scrollTop = out.scrollHeight;
        } catch (error) {
          this.words.fail(error);
        }
      }, { "aria-label": `Console log of ${name}` }),
    );
    this.logs.append(el("div", { class: "wp-row" }, ...buttons), out);
  }

  /** Open a terminal or the screen of a machine. */
  async open(name, how) {
    const key = `${how} ${name}`;
    if (this.windows.has(key)) return this.windows.get(key).focus();
    const lacking = how === "screen" ? "screens" : "terminals";
    if (this.all.parts.includes(lacking)) return this.words.fail({ what: `this page has no ${lacking}, as scripts for them are not installed`, hint: this.all.remedy });
    const inside = el("div", { class: how === "screen" ? "wp-screen" : "wp-terminal" });
    const state = el("span", { class: "wp-dim" });
    const window_ = el(
      "section",
      { class: "wp-window", "aria-label": `${how} of ${name}` },
      el("div", { class: "wp-bar" }, el("b", {}, name), el("span", {}, how), state, button("Close", () => end(), { "aria-label": `Close ${how} of ${name}` })),
      inside,
    );
    this.tray.append(window_);
    const at = `ws://${location.host}/ws/${this.uuid}/${how}/${encodeURIComponent(name)}`;
    const made = how === "screen" ? await screen(inside, at, state) : terminal(inside, at, state, name);
    const end = () => {
      made.close();
      window_.remove();
      this.windows.delete(key);
      this.node.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
    };
    this.windows.set(key, made);
    made.focus();
  }

  close() {
    this.source.close();
    clearInterval(this.timer);
    for (const one of this.windows.values()) one.close();
  }
}

function terminal(inside, at, state, name) {
  const term = new Terminal({ cursorBlink: true, fontSize: 13, scrollback: 5000, screenReaderMode: true, fontFamily: 'ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace', linkHandler: { activate() {} } });
  const fit = new FitAddon.FitAddon();
  term.loadAddon(fit);
  term.open(inside);
  term.textarea.setAttribute("aria-label", `Terminal of ${name}; Control Shift F6 leaves it`);
  // Tab is the machine's, so something else must lead out.
  term.attachCustomKeyEventHandler((event) => {
    if (event.key !== "F6" || !event.ctrlKey || !event.shiftKey) return true;
    if (event.type === "keydown") inside.closest(".wp-window").querySelector("button").focus();
    return false;
  });
  const socket = new WebSocket(at);
  socket.binaryType = "arraybuffer";
  const typed = new TextEncoder();
  const size = () => {
    fit.fit();
    if (socket.readyState === WebSocket.OPEN) socket.send(`${term.cols}x${term.rows}`);
  };
  const observer = new ResizeObserver(size);
  observer.observe(inside);
  socket.onopen = () => {
    state.textContent = "";
    size();
  };
  socket.onmessage = (event) => term.write(new Uint8Array(event.data));
  socket.onclose = (event) => state.textContent = event.reason || "ended";
  term.onData((text) => socket.readyState === WebSocket.OPEN && socket.send(typed.encode(text)));
  term.onBinary((text) => socket.readyState === WebSocket.OPEN && socket.send(Uint8Array.from(text, (one) => one.charCodeAt(0))));
  state.textContent = "connecting …";
  return {
    focus: () => term.focus(),
    close: () => {
      observer.disconnect();
      socket.close();
      term.dispose();
    },
  };
}

async function screen(inside, at, state) {
  const { default: RFB } = await import("/parts/novnc/core/rfb.js");
  const socket = new WebSocket(at);
  socket.addEventListener("close", (event) => state.textContent = event.reason || "ended");
  const rfb = new RFB(inside, socket);
  rfb.scaleViewport = true;
  rfb.addEventListener("connect", () => state.textContent = "");
  state.textContent = "connecting …";
  return { focus: () => rfb.focus(), close: () => rfb.disconnect() };
}

class App {
  async start() {
    const all = await get("/api/environments");
    this.all = { ...all, reload: () => this.reload() };
    this.nav = el("nav", { class: "wp-nav", "aria-label": "Environments" });
    this.main = el("main", { id: "wp-main" });
    const mode = all.read_only ? el("span", { class: "wp-mode" }, "read-only") : null;
    page.replaceChildren(el("header", { class: "wp-head" }, el("h1", {}, el("span", { class: "wp-logo" }, "Lago"), (this.title = el("span", {}))), mode, this.nav), this.main);
    page.classList.add("wp", "lv");
    this.show();
    addEventListener("hashchange", () => this.show());
  }

  async reload() {
    const { environments } = await get("/api/environments");
    this.all.environments = environments;
    this.names();
  }

  names() {
    const { environments } = this.all;
    this.nav.hidden = environments.length < 2;
    this.nav.replaceChildren(
      ...environments.map((one) => el("a", { href: `#${one.uuid}`, title: one.path, "aria-current": one.uuid === this.shown?.uuid ? "page" : null }, one.name, el("small", {}, one.workdir))),
    );
  }

  show() {
    const { environments } = this.all;
    const wanted = environments.find((one) => one.uuid === location.hash.slice(1)) ?? environments[0];
    this.shown?.close();
    this.shown = null;
    if (!wanted) return this.main.replaceChildren(el("p", { class: "wp-empty" }, "There is no environment. lago init makes one."));
    this.shown = new Environment(wanted, this.all);
    this.title.textContent = wanted.name;
    this.title.title = wanted.path;
    document.title = `${wanted.name} – Lago`;
    this.main.replaceChildren(this.shown.node);
    this.names();
  }
}

new App().start().catch((error) => {
  const words = new Words();
  page.replaceChildren(el("main", {}, words.node));
  words.fail(error);
});
