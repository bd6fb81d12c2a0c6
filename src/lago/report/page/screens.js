// Screens as they were when somebody looked: the last one of each machine at the chosen instant.

class Screens {
  constructor(viewer) {
    this.viewer = viewer;
    this.grid = element("div", { class: "lv-screen-grid" });
    this.node = section("screens", "Screens", this.grid).node;
    this.node.hidden = true;
  }

  update() {
    const { viewer } = this;
    const { journal, instant, choice } = viewer;
    const last = new Map();
    for (const item of journal.screens) if (!last.has(item.vm) || item.t <= instant) last.set(item.vm, item);
    const shown = [...last.values()].filter((one) => !choice.hiddenMachines.has(one.vm));
    this.node.hidden = !shown.length;
    const key = shown.map((one) => `${one.t} ${one.vm} ${one.t > instant} ${viewer.clockTimes}`).join("\n");
    if (key === this.drawn) return;
    this.drawn = key;
    this.grid.replaceChildren(...shown.map((one) => this.one(one)));
  }

  one(item) {
    const { viewer } = this;
    const found = viewer.picture(plain(item.entry.file));
    let what = element("p", { class: "lv-dim" }, `${visible(item.entry.file)} is not in here`);
    if (typeof found === "string" && item.entry.form === "txt") what = element("pre", { tabindex: "0", role: "group", "aria-label": `Screen of ${visible(item.vm)}` }, visible(found, true));
    else if (typeof found === "string") what = element("img", { src: found, alt: `Screen of ${visible(item.vm)} at ${viewer.tell(item.t)}` });
    else if (found?.missing) what.textContent = `${visible(item.entry.file)}: ${visible(found.missing)}`;
    return element("figure", { class: "lv-screen" }, element("figcaption", {}, element("b", {}, visible(item.vm)), " ",
      button(viewer.tell(item.t), () => viewer.select(item), { class: "lv-link" }), item.t > viewer.instant ? " (later)" : null), what);
  }
}
