// Search, filters and zoom: what stands above the lanes.

class Bar {
  constructor(viewer) {
    this.viewer = viewer;
    this.choice = viewer.choice;
    this.input = element("input", { type: "search", placeholder: "Search everything", "aria-label": "Search everything", spellcheck: "false", autocomplete: "off" });
    this.found = element("output", { class: "lv-found", "aria-live": "polite" });
    this.input.addEventListener("input", () => this.look());
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        this.look();
        this.next(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape") {
        this.input.value = "";
        this.look();
      }
    });
    this.range = element("span", { class: "lv-range" });
    this.kinds = element("div", { class: "lv-chips", role: "group", "aria-label": "Kinds" });
    this.machines = element("div", { class: "lv-chips", role: "group", "aria-label": "Machines" });
    this.outcome = element("select", { "aria-label": "Outcome", onchange: () => this.choose(() => (this.choice.outcome = this.outcome.value)) },
      ...[["", "any outcome"], ["failed", "failed"], ["loud", "failed, or sounds like it"], ["ok", "ok"], ["open", "without an end"], ["interrupted", "interrupted"], ["skipped", "skipped"]]
        .map(([value, text]) => element("option", { value }, text)));
    this.node = element("div", { class: "lv-bar" },
      element("div", { class: "lv-search", role: "search" }, this.input, this.found,
        button("\u2191", () => this.next(-1), { "aria-label": "Previous hit", title: "Previous hit (Shift+N)" }),
        button("\u2193", () => this.next(1), { "aria-label": "Next hit", title: "Next hit (n)" })),
      element("div", { class: "lv-zoom", role: "group", "aria-label": "Zoom" },
        button("\u2212", () => viewer.timeline.zoom(2), { "aria-label": "Zoom out", title: "Zoom out (\u2212)" }),
        button("+", () => viewer.timeline.zoom(0.5), { "aria-label": "Zoom in", title: "Zoom in (+)" }),
        button("All", () => viewer.timeline.showAll(), { title: "The whole journal (0)" })),
      this.range, this.outcome, this.kinds, this.machines);
  }

  /** Which part of the time is in sight. */
  sight() {
    const { view } = this.viewer.timeline;
    const step = (view.t1 - view.t0) / 100;
    this.range.textContent = `${this.viewer.tell(view.t0, step)} \u2013 ${this.viewer.tell(view.t1, step)}, ${duration(view.t1 - view.t0)}`;
  }

  look() {
    this.choice.query = this.input.value;
    this.choice.find();
    this.viewer.update();
    this.tell();
  }

  tell() {
    const { hits, query } = this.choice;
    const at = this.viewer.selected ? indexIn(hits, this.viewer.selected) : -1;
    this.found.textContent = query ? (at >= 0 ? `${at + 1} of ${hits.length}` : several(hits.length, "hit")) : "";
  }

  /** Go to the next hit after what is selected, and from the last to the first. */
  next(by) {
    const items = this.choice.listed;
    if (!items.length) return;
    const { selected, instant } = this.viewer;
    let at = selected ? indexIn(items, selected) : -1;
    if (at >= 0) at += by;
    else at = by > 0 ? before(items, instant) : before(items, instant) - 1;
    const goal = this.choice.query ? items[(at + items.length) % items.length] : items[Math.max(0, Math.min(items.length - 1, at))];
    this.viewer.select(goal);
  }

  choose(change) {
    change();
    this.choice.changed();
    this.viewer.update();
    this.tell();
  }

  /** Chips for the kinds and machines that there are. */
  update() {
    const counts = new Map();
    for (const item of this.viewer.journal.items) counts.set(groupOf(item.kind), (counts.get(groupOf(item.kind)) ?? 0) + 1);
    const kinds = Object.keys(KINDS).filter((kind) => counts.has(kind));
    this.fill(this.kinds, kinds, this.choice.hiddenKinds, (kind) => KINDS[kind].label, (kind) => `lv-k-${kind}`, (kind) => counts.get(kind));
    this.fill(this.machines, [...this.viewer.journal.machines.keys()], this.choice.hiddenMachines, visible, () => "lv-k-machine");
  }

  fill(box, names, hidden, label, style, count = () => null) {
    const key = JSON.stringify(names.map((name) => [name, count(name)]));
    if (box.dataset.key === key) return;
    box.dataset.key = key;
    const had = document.activeElement?.dataset?.name;
    box.replaceChildren(...names.map((name) => {
      const chip = element("button", { type: "button", class: `lv-chip ${style(name)}`, "aria-pressed": String(!hidden.has(name)), "data-name": name,
        title: "Click to show or hide; with Shift, or twice, to show only this" },
      element("i", { "aria-hidden": "true" }), label(name), count(name) === null ? null : element("small", {}, count(name).toLocaleString("en")));
      const set = () => box.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", String(!hidden.has(one.dataset.name))));
      const only = () => {
        const alone = !hidden.has(name) && names.every((one) => one === name || hidden.has(one));
        hidden.clear();
        if (!alone) names.filter((one) => one !== name).forEach((one) => hidden.add(one));
      };
      chip.addEventListener("click", (event) => {
        if (event.detail === 2) return;
        this.choose(() => (event.shiftKey ? only() : hidden.has(name) ? hidden.delete(name) : hidden.add(name)));
        set();
      });
      chip.addEventListener("dblclick", () => {
        this.choose(() => {
          hidden.delete(name);
          only();
        });
        set();
      });
      return chip;
    }));
    if (had) [...box.children].find((one) => one.dataset.name === had)?.focus();
  }
}
