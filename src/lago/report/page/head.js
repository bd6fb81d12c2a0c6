// What this is of, how it went, and how it is looked at.

const THEMES = [["", "Auto"], ["light", "Light"], ["dark", "Dark"]];

class Head {
  constructor(viewer) {
    this.viewer = viewer;
    this.name = element("h1", {}, "Lago");
    this.about = element("p", { class: "lv-about" });
    this.sums = element("ul", { class: "lv-sums" });
    this.times = button("Time of day", () => viewer.setClock(!viewer.clockTimes), { "aria-pressed": "false", title: "Times of day instead of time since the start (t)" });
    this.theme = element("select", { "aria-label": "Colours", onchange: () => this.paint(this.theme.value) }, ...THEMES.map(([value, text]) => element("option", { value }, text)));
    this.help = new Help();
    this.node = element("header", { class: "lv-head" },
      element("div", { class: "lv-names" }, element("p", { class: "lv-product" }, "Lago"), this.name, this.about),
      element("div", { class: "lv-tools" }, this.times, this.theme, button("Keys", () => this.help.open(), { title: "Keys (?)", "aria-haspopup": "dialog" })),
      this.sums, this.help.node);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => viewer.repaint());
  }

  paint(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    this.viewer.repaint();
  }

  update() {
    const { journal, live } = this.viewer;
    const { head, items } = journal;
    const name = visible(calledBy(head)) || "Environment";
    this.name.textContent = name;
    if (!live) document.title = `${name} \u00b7 Lago report`;
    const parts = [visible(head.path ?? "")];
    if (journal.start <= journal.last) parts.push(full(journal.start), duration(journal.last - journal.start));
    if (head.lago) parts.push(`Lago ${visible(head.lago)}`);
    this.about.replaceChildren(...parts.filter(Boolean).map((one) => element("span", {}, one)));
    const failed = (kind) => items.filter((one) => one.kind === kind && one.outcome === "failed");
    const of = (kind) => items.filter((one) => one.kind === kind);
    const sums = [];
    const sum = (text, act = null, style = "") => sums.push(element("li", {}, act ? button(text, act, { class: `lv-sum ${style}` }) : element("span", { class: `lv-sum ${style}` }, text)));
    for (const [kind, one] of [["test", (n) => several(n, "test")], ["command", (n) => several(n, "command")], ["verb", (n) => `${several(n, "call")} of Lago`]]) {
      const bad = failed(kind);
      if (bad.length) sum(`${one(bad.length)} failed`, () => this.viewer.select(bad[0]), "lv-o-failed");
    }
    sum(several(journal.machines.size, "machine"));
    if (of("test").length) sum(several(of("test").length, "test"));
    if (of("command").length) sum(several(of("command").length, "command"));
    if (journal.faults.length) sum(several(journal.faults.length, "fault"), () => this.viewer.select(journal.faults[0]), "lv-fault-sum");
    this.sums.replaceChildren(...sums);
  }
}

/** What people call an environment: the directory that its workdir is in, and its own name unless that is the usual one. */
function calledBy(head) {
  const parts = plain(head.path).split("/").filter(Boolean);
  const at = parts.findLastIndex((one) => one === ".lago" || one === ".lago-pytest");
  const name = plain(head.name) || (parts.at(-1) ?? "");
  if (at < 1) return name;
  // Environments of tests are all called the same, and their workdirs after where they come from.
  const own = parts[at] === ".lago-pytest" ? (parts.at(-2) ?? name) : name;
  return own === "default" || !own ? parts[at - 1] : `${parts[at - 1]} \u00b7 ${own}`;
}

const KEYS = [
  ["/", "search; Enter and Shift+Enter go to the next and the previous hit, Esc ends the search"],
  ["n  p", "next event, event before (of the hits, while you search)"],
  ["f  Shift+F", "next failure, failure before"],
  ["+  \u2212  0", "zoom in, out, the whole"],
  ["Shift+\u2190  Shift+\u2192", "move, on the lanes"],
  ["\u2190  \u2192", "events of a lane, on the lanes"],
  ["\u2191  \u2193", "lanes; on the list, events"],
  ["Home  End", "begin and end"],
  ["Enter", "read the details"],
  ["t", "time since start, or time of day"],
  ["?", "this"],
];

class Help {
  constructor() {
    this.node = element("dialog", { class: "lv-help", "aria-labelledby": "lv-help-title" },
      element("h2", { id: "lv-help-title" }, "Keys"),
      element("dl", {}, ...KEYS.map(([keys, text]) => element("div", {}, element("dt", {}, ...keys.split("  ").map((one) => element("kbd", {}, one))), element("dd", {}, text)))),
      element("p", { class: "lv-dim" }, "The wheel zooms where the pointer is, with Shift it moves. Drag moves; on the axis it marks what to zoom to. A double click zooms in."),
      button("Close", () => this.node.close()));
  }

  open() {
    if (!this.node.open) this.node.showModal();
  }
}
