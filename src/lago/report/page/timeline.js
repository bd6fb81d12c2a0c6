// The lanes on their common axis of time. Two canvases: the whole on top, what is looked at below. What is drawn is as
// much as there are pixels, however many events there are.

const OVERVIEW = 44;
const AXIS = 26;
const SHORTEST = 1e-4;

class Timeline {
  constructor(viewer) {
    this.viewer = viewer;
    this.journal = viewer.journal;
    this.choice = viewer.choice;
    this.view = null;
    this.whole = true;
    this.overview = element("canvas", { class: "lv-overview", height: OVERVIEW, "aria-hidden": "true" });
    this.canvas = element("canvas", {
      class: "lv-lanes", tabindex: "0", role: "application", "aria-roledescription": "timeline",
      "aria-label": "Lanes of machines. Left and right go from event to event, up and down from lane to lane, plus and minus zoom.",
    });
    this.tip = element("div", { class: "lv-tip", hidden: true });
    this.room = element("div", { class: "lv-room" });
    this.scroll = element("div", { class: "lv-scroll" }, this.room);
    this.room.append(this.canvas);
    this.node = element("div", { class: "lv-plot" }, this.overview, this.scroll, this.tip);
    this.draw = eachFrame(() => this.drawNow());
    this.scroll.addEventListener("scroll", this.draw);
    new ResizeObserver(this.draw).observe(this.node);
    new Gestures(this);
  }

  get gutter() {
    return this.node.clientWidth < 700 ? 74 : 132;
  }

  /** All there is, with a little room at both ends. */
  get extent() {
    const { start, last } = this.journal;
    if (start > last) return { t0: 0, t1: 1 };
    const room = Math.max((last - start) * 0.015, 0.005);
    return { t0: start - room, t1: last + room };
  }

  get perPixel() {
    return (this.view.t1 - this.view.t0) / Math.max(1, this.width - this.gutter);
  }

  x(t) {
    return this.gutter + (t - this.view.t0) / this.perPixel;
  }

  at(x) {
    return this.view.t0 + (x - this.gutter) * this.perPixel;
  }

  show(t0, t1) {
    const whole = this.extent;
    const length = Math.max(SHORTEST, Math.min(t1 - t0, whole.t1 - whole.t0));
    const from = Math.max(whole.t0, Math.min(t0, whole.t1 - length));
    this.view = { t0: from, t1: from + length };
    this.whole = length >= (whole.t1 - whole.t0) * 0.999;
    this.draw();
  }

  showAll() {
    const whole = this.extent;
    this.show(whole.t0, whole.t1);
  }

  /** Make what is seen shorter (below 1) or longer, such that `t` stays where it is. */
  zoom(factor, t = this.focus) {
    const { t0, t1 } = this.view;
    this.show(t - (t - t0) * factor, t + (t1 - t) * factor);
  }

  pan(share) {
    const by = (this.view.t1 - this.view.t0) * share;
    this.show(this.view.t0 + by, this.view.t1 + by);
  }

  /** Where zooming by key goes: the instant, if it is in sight. */
  get focus() {
    const { t0, t1 } = this.view;
    const t = this.viewer.instant;
    return t >= t0 && t <= t1 ? t : (t0 + t1) / 2;
  }

  /** Bring an item into sight. */
  reveal(item) {
    const { t0, t1 } = this.view;
    const end = this.journal.endOf(item);
    const length = t1 - t0;
    if (item.t < t0 || item.t > t1) this.show(item.t - length / 3, item.t + (length * 2) / 3);
    else if (end - item.t > length * 4) this.show(item.t - (end - item.t) * 0.1, end + (end - item.t) * 0.1);
    const row = this.rows?.find((one) => one.tracks.some((track) => track.items.includes?.(item) && item.kind !== "console"));
    if (row) this.revealRow(row);
    this.draw();
  }

  revealRow(row) {
    const top = row.y - AXIS - 20;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = Math.max(0, top);
    else if (row.y + row.height > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = row.y + row.height - this.scroll.clientHeight + 10;
  }

  /** Where lanes and their rows are. */
  layout() {
    const lanes = [this.journal.tests, this.journal.lago, ...this.journal.machines.values()].filter((lane) => this.worth(lane));
    this.rows = [];
    this.lanes = [];
    let y = AXIS;
    for (const lane of lanes) {
      const top = y;
      y += 5;
      const row = (kind, height, ...tracks) => {
        this.rows.push({ lane, kind, y, height, tracks });
        y += height + 2;
      };
      if (lane.machine) row("state", 5, lane.state, lane.ssh);
      for (const track of lane.faults) row("faults", 11, track);
      const size = lane.spans.length > 4 ? Math.max(4, Math.floor(64 / lane.spans.length)) : 16;
      for (const track of lane.spans) row("spans", size, track);
      if (lane.marks.items.length) row("marks", 12, lane.marks);
      if (lane.console.items.length) row("console", 20, lane.console);
      y = Math.max(y + 3, top + 30);
      this.lanes.push({ lane, y: top, height: y - top });
    }
    this.height = y + 1;
  }

  worth(lane) {
    if (lane.machine) return !this.choice.hiddenMachines.has(lane.name);
    return lane.spans.length + lane.marks.items.length + lane.faults.length > 0;
  }

  drawNow() {
    if (!this.node.isConnected || !this.node.clientWidth) return;
    if (!this.view || (this.whole && this.laid !== this.journal.version)) this.view = this.extent;
    this.laid = this.journal.version;
    this.layout();
    this.width = this.node.clientWidth;
    const room = Math.max(180, Math.min(this.height, Math.round(globalThis.innerHeight * 0.58)));
    this.scroll.style.height = `${room}px`;
    this.room.style.height = `${this.height}px`;
    this.colours ??= readColours(this.viewer.root);
    const context = sized(this.canvas, this.width, room);
    new Painter(this, context, this.scroll.scrollTop, room).paint();
    this.viewer.bar.sight();
    paintOverview(this, sized(this.overview, this.width, OVERVIEW));
  }

  /** The item at a place of the lanes, or null. */
  itemAt(x, y) {
    const row = this.rows.find((one) => y >= one.y - 1 && y <= one.y + one.height + 1);
    if (!row || x < this.gutter) return null;
    const t = this.at(x);
    const slack = this.perPixel * 4;
    let best = null;
    let least = Infinity;
    for (const track of row.tracks) {
      const items = this.choice.of(track.items);
      for (let at = Math.max(0, before(items, t) - 3); at < items.length && items[at].t <= t + slack; at += 1) {
        const item = items[at];
        const end = row.kind === "state" ? t : this.journal.endOf(item);
        const far = t < item.t ? item.t - t : Math.max(0, t - end);
        if (far <= slack && (far < least || (far === least && item.outcome === "failed"))) [best, least] = [item, far];
      }
    }
    return best;
  }

  laneAt(y) {
    return this.lanes.find((one) => y >= one.y && y < one.y + one.height)?.lane ?? null;
  }
}

function sized(canvas, width, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.direction = "ltr";
  return context;
}
