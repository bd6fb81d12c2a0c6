// The consoles of all machines side by side, at the chosen instant.

class Consoles {
  constructor(viewer) {
    this.viewer = viewer;
    this.grid = element("div", { class: "lv-console-grid" });
    const { head, node } = section("consoles", "Consoles", this.grid);
    this.when = element("span", { class: "lv-dim" });
    head.append(this.when);
    this.node = node;
    this.panes = new Map();
  }

  update() {
    const { journal, choice } = this.viewer;
    for (const lane of journal.machines.values()) if (!this.panes.has(lane.name)) this.add(lane);
    for (const [name, pane] of this.panes) {
      pane.node.hidden = choice.hiddenMachines.has(name);
      pane.rows.count = pane.lane.console.items.length;
      pane.empty.hidden = pane.rows.count > 0;
      pane.rows.draw();
    }
    const longest = Math.max(0, ...[...this.panes.values()].map((one) => one.rows.count));
    this.grid.style.gridAutoRows = `${Math.min(300, 60 + longest * 18)}px`;
    this.node.hidden = !this.panes.size;
    this.follow();
  }

  add(lane) {
    const rows = new Rows(18, { role: "group", "aria-label": `Console of ${visible(lane.name)}`, class: "lv-console-rows" }, (at) => this.line(lane, at));
    const empty = element("p", { class: "lv-dim" }, "Nothing came from this console.");
    const node = element("div", { class: "lv-pane" }, element("h3", {}, visible(lane.name)), empty, rows.node);
    rows.node.addEventListener("click", (event) => {
      const at = event.target.closest("[data-at]")?.dataset.at;
      if (at !== undefined && !String(getSelection())) this.viewer.select(lane.console.items[Number(at)], undefined, false);
    });
    this.panes.set(lane.name, { lane, rows, node, empty });
    this.grid.append(node);
  }

  line(lane, at) {
    const item = lane.console.items[at];
    const { viewer } = this;
    const later = item.t > viewer.instant;
    const border = later && at > 0 && lane.console.items[at - 1].t <= viewer.instant;
    const pieces = coloured(item.entry.text).flatMap(([text, colour]) => {
      const marked = viewer.found(clipped(text, 2000));
      return colour ? [element("span", { class: colour }, ...marked)] : marked;
    });
    return {
      class: `lv-line ${later ? "lv-later" : ""} ${border ? "lv-border" : ""} ${item.loud ? "lv-loud" : ""} ${item === viewer.selected ? "lv-chosen" : ""}`,
      "data-at": at,
      children: [
        element("span", { class: "lv-when" }, viewer.tell(item.t)),
        element("span", { class: "lv-said" }, ...pieces, item.entry.cut ? element("em", {}, " (cut)") : null),
      ],
    };
  }

  /** Scroll each console to what it said last. */
  follow() {
    const { viewer } = this;
    this.when.textContent = `at ${viewer.tell(viewer.instant)}`;
    for (const { lane, rows } of this.panes.values()) {
      const items = lane.console.items;
      let at = before(items, viewer.instant);
      while (at < items.length && items[at].t <= viewer.instant) at += 1;
      const mine = viewer.selected?.kind === "console" && viewer.selected.vm === lane.name ? indexIn(items, viewer.selected) : -1;
      if (mine >= 0) rows.reveal(mine);
      else if (items.length) rows.place(Math.max(0, at - 1), 0.75);
    }
  }
}
