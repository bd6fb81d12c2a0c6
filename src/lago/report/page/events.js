// All that is shown, as a list: for reading, for keys and for those who do not see the lanes.

class Events {
  constructor(viewer) {
    this.viewer = viewer;
    this.rows = new Rows(26, { role: "listbox", "aria-label": "Events", class: "lv-events-rows" }, (at) => this.row(at));
    const { head, node } = section("events", "Events", this.rows.node);
    this.count = element("span", { class: "lv-dim" });
    head.append(this.count);
    this.node = node;
    this.rows.node.addEventListener("keydown", (event) => this.key(event));
    this.rows.node.addEventListener("click", (event) => {
      const at = event.target.closest("[data-at]")?.dataset.at;
      if (at !== undefined) viewer.select(this.items[Number(at)]);
    });
  }

  get items() {
    return this.viewer.choice.listed;
  }

  row(at) {
    const item = this.items[at];
    const { viewer } = this;
    const chosen = item === viewer.selected;
    const end = ending(item);
    return {
      class: `lv-event lv-k-${groupOf(item.kind)} ${chosen ? "lv-chosen" : ""} ${item.outcome === "failed" ? "lv-bad" : ""} ${item.t > viewer.instant ? "lv-later" : ""}`,
      role: "option", id: `lv-e-${at}`, "data-at": at, "aria-selected": String(chosen),
      "aria-setsize": this.items.length, "aria-posinset": at + 1,
      children: [
        element("span", { class: "lv-when" }, viewer.tell(item.t)),
        element("span", { class: "lv-who" }, item.vm ? visible(item.vm) : "\u2013"),
        element("span", { class: "lv-kind" }, KINDS[item.kind].one),
        element("span", { class: "lv-what" }, ...viewer.found(clipped(headline(item), 300))),
        element("span", { class: "lv-end" }, item.outcome === "ok" && item.kind !== "test" ? duration(item.end - item.t) : end),
      ],
    };
  }

  update() {
    this.rows.count = this.items.length;
    this.count.textContent = several(this.items.length, "event");
    this.rows.draw();
  }

  /** Scroll to what happened last at the chosen instant. */
  follow() {
    this.rows.reveal(Math.max(0, before(this.items, this.viewer.instant + 1e-9) - 1));
  }

  selected() {
    const at = this.viewer.selected ? indexIn(this.items, this.viewer.selected) : -1;
    if (at < 0) this.rows.node.removeAttribute("aria-activedescendant");
    else {
      this.rows.reveal(at);
      this.rows.node.setAttribute("aria-activedescendant", `lv-e-${at}`);
    }
    this.rows.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.rows.node.clientHeight / this.rows.row) - 1);
    const now = this.viewer.selected ? indexIn(this.items, this.viewer.selected) : before(this.items, this.viewer.instant) - 1;
    const goal = {
      ArrowUp: now - 1, ArrowDown: now + 1, PageUp: now - page, PageDown: now + page, Home: 0, End: this.items.length - 1,
    }[event.key];
    if (event.key === "Enter") {
      event.preventDefault();
      this.viewer.details.focus();
    } else if (goal !== undefined) {
      event.preventDefault();
      const item = this.items[Math.max(0, Math.min(this.items.length - 1, goal))];
      if (item) this.viewer.select(item);
    }
  }
}

/** Where an item is among others in the order of time, or -1. */
function indexIn(items, item) {
  for (let at = before(items, item.t); at < items.length && items[at].t === item.t; at += 1) if (items[at] === item) return at;
  return -1;
}
