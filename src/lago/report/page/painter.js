// One frame of the lanes.

const FONT = "12px system-ui, sans-serif";
const SMALL = "11px system-ui, sans-serif";
const BOLD = "600 12px system-ui, sans-serif";

class Painter {
  constructor(timeline, context, top, room) {
    Object.assign(this, { timeline, context, top, room });
    this.colours = timeline.colours;
    this.journal = timeline.journal;
    this.viewer = timeline.viewer;
    this.choice = timeline.choice;
    this.left = timeline.gutter;
    this.right = timeline.width;
  }

  paint() {
    const { context, timeline } = this;
    context.save();
    context.translate(0, -this.top);
    this.backgrounds();
    this.grid();
    context.save();
    context.beginPath();
    context.rect(this.left, this.top + AXIS, this.right - this.left, this.room);
    context.clip();
    this.bands();
    for (const row of timeline.rows) if (this.sees(row)) this[row.kind](row);
    this.across();
    context.restore();
    this.labels();
    context.restore();
    this.axis();
    this.cursor();
  }

  sees(place) {
    return place.y + place.height >= this.top && place.y <= this.top + this.room;
  }

  fill(colour, x, y, width, height, alpha = 1) {
    this.context.globalAlpha = alpha;
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, width, height);
    this.context.globalAlpha = 1;
  }

  backgrounds() {
    this.timeline.lanes.forEach((place, index) => {
      if (index % 2) this.fill(this.colours.faint, 0, place.y, this.right, place.height);
      this.fill(this.colours.line, 0, place.y + place.height - 1, this.right, 1);
    });
  }

  /** Tests, over all lanes. */
  bands() {
    if (this.choice.hiddenKinds.has("test")) return;
    for (const track of this.journal.tests.spans) {
      this.each(this.choice.of(track.items), (item, x, width) => {
        const bad = item.outcome === "failed";
        this.fill(colourOf(item, this.colours), x, this.top, width, this.room, bad ? 0.1 : 0.05);
        if (width > 3) this.fill(colourOf(item, this.colours), x, this.top, 1, this.room, 0.35);
      });
    }
  }

  /** Call `draw` for what is in sight, at most twice for each pixel; ends of items on a track are in the order of time too. */
  each(items, draw) {
    const { view } = this.timeline;
    const now = this.journal.last;
    let at = Math.max(0, before(items, view.t0) - 1);
    while (at < items.length && items[at].t <= view.t1) {
      const item = items[at];
      const end = item.end === Infinity ? Math.max(now, item.t) : item.end;
      const x = Math.max(this.left - 2, this.timeline.x(item.t));
      const to = Math.min(this.right + 2, this.timeline.x(end));
      if (to >= this.left - 2) draw(item, x, Math.max(0, to - x));
      at = this.after(items, at);
    }
  }

  /** The next one to draw. Of those that begin in the same pixel only the last may be longer than that. */
  after(items, at) {
    return Math.max(at + 1, before(items, items[at].t + this.timeline.perPixel * 0.7) - 1);
  }

  spans(row) {
    const [track] = row.tracks;
    this.each(this.choice.of(track.items), (item, x, width) => this.bar(item, x, width, row));
    this.each(this.choice.of(track.failed), (item, x, width) => this.bar(item, x, width, row));
  }

  bar(item, x, width, row) {
    const { context } = this;
    const size = Math.max(width, item.outcome === "failed" ? 3 : 1.5);
    const dimmed = this.choice.query && !this.choice.found.has(item);
    context.globalAlpha = dimmed ? 0.28 : 1;
    context.fillStyle = colourOf(item, this.colours);
    context.beginPath();
    context.roundRect(x, row.y, size, row.height, Math.min(3, size / 2));
    context.fill();
    context.globalAlpha = 1;
    if (item.outcome === "open" || item.outcome === "interrupted") this.fade(x, size, row);
    if (size > 26 && row.height >= 11) this.caption(caption(item), x, size, row);
    if (item === this.viewer.selected) this.ring(x, size, row);
  }

  /** An end that nobody saw. */
  fade(x, width, row) {
    const from = Math.max(x, x + width - 30);
    const gradient = this.context.createLinearGradient(from, 0, x + width, 0);
    gradient.addColorStop(0, "transparent");
    gradient.addColorStop(1, this.colours.card);
    this.context.fillStyle = gradient;
    this.context.fillRect(from, row.y, x + width - from + 1, row.height);
  }

  caption(text, x, width, row, colour = this.colours["bar-ink"]) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(x, row.y, width - 3, row.height);
    context.clip();
    context.font = SMALL;
    context.textBaseline = "middle";
    context.fillStyle = colour;
    context.fillText(clipped(text, Math.ceil(width / 4)), Math.max(x, this.left) + 5, row.y + row.height / 2 + 0.5);
    context.restore();
  }

  ring(x, width, row) {
    const { context } = this;
    context.strokeStyle = this.colours.card;
    context.lineWidth = 4;
    context.strokeRect(x - 1.5, row.y - 1.5, width + 3, row.height + 3);
    context.strokeStyle = this.colours.ink;
    context.lineWidth = 2;
    context.strokeRect(x - 1.5, row.y - 1.5, width + 3, row.height + 3);
  }

  faults(row) {
    const { context } = this;
    this.each(this.choice.of(row.tracks[0].items), (item, x, width) => {
      const size = Math.max(width, 2);
      context.save();
      context.beginPath();
      context.rect(x, row.y, size, row.height);
      context.clip();
      this.fill(this.colours.fault, x, row.y, size, row.height, 0.28);
      context.strokeStyle = this.colours.fault;
      context.lineWidth = 2;
      context.beginPath();
      for (let at = x - row.height - ((x - row.height) % 7); at < x + size; at += 7) {
        context.moveTo(at, row.y + row.height);
        context.lineTo(at + row.height, row.y);
      }
      context.stroke();
      context.restore();
      if (size > 60) {
        const text = clipped(headline(item), Math.ceil(size / 6));
        context.font = SMALL;
        this.fill(this.colours.card, Math.max(x, this.left) + 4, row.y, Math.min(size - 8, context.measureText(text).width + 8), row.height);
        this.caption(text, Math.max(x, this.left) + 3, size - 8, row, this.colours.ink);
      }
      if (item === this.viewer.selected) this.ring(x, size, row);
    });
  }

  state(row) {
    const items = this.choice.of(row.tracks[0].items);
    const { view } = this.timeline;
    for (let at = Math.max(0, before(items, view.t0) - 1); at < items.length && items[at].t <= view.t1; ) {
      const until = at + 1 < items.length ? items[at + 1].t : Math.max(this.journal.last, items[at].t);
      const x = Math.max(this.left, this.timeline.x(items[at].t));
      const width = this.timeline.x(until) - x;
      this.fill(stateColour(items[at].entry.state, this.colours), x, row.y, Math.max(width, 1), row.height);
      if (items[at] === this.viewer.selected) this.ring(x, Math.max(width, 2), row);
      at = this.after(items, at);
    }
    if (this.choice.hiddenKinds.has("ssh")) return;
    this.each(this.choice.of(row.tracks[1].items), (item, x) => {
      this.dot(x, row.y + row.height / 2, item.entry.up ? this.colours.ssh : this.colours.off, item);
    });
  }

  dot(x, y, colour, item) {
    const { context } = this;
    context.beginPath();
    context.arc(x, y, 4.5, 0, Math.PI * 2);
    context.fillStyle = colour;
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = item === this.viewer.selected ? this.colours.ink : this.colours.card;
    context.stroke();
  }

  marks(row) {
    this.each(this.choice.of(row.tracks[0].items), (item, x) => {
      const { context } = this;
      const middle = row.y + row.height / 2;
      context.fillStyle = colourOf(item, this.colours);
      context.beginPath();
      if (item.kind === "screen") context.roundRect(x - 6, middle - 4.5, 12, 9, 2);
      else if (item.kind === "note") context.roundRect(x - 5, middle - 5, 10, 10, 5);
      else {
        context.moveTo(x, middle - 5);
        context.lineTo(x + 5, middle);
        context.lineTo(x, middle + 5);
        context.lineTo(x - 5, middle);
      }
      context.fill();
      if (item === this.viewer.selected) this.ring(x - 6, 12, row);
    });
  }

  /** How much a console said, in bins of a few pixels. */
  console(row) {
    const items = this.choice.of(row.tracks[0].items);
    const { context, timeline } = this;
    const wide = 3;
    const base = row.y + row.height;
    const columns = [];
    let from = before(items, timeline.at(this.left));
    for (let x = this.left; x < this.right; x += wide) {
      const to = before(items, timeline.at(x + wide));
      if (to > from) columns.push([x, to - from, loudIn(items, from, to)]);
      from = to;
    }
    for (const [x, count, loud] of columns) {
      const height = Math.min(row.height, 3 + Math.log2(count + 1) * 2.4);
      context.fillStyle = loud ? this.colours.paused : this.colours.console;
      context.fillRect(x, base - height, wide - 0.75, height);
    }
    const { selected } = this.viewer;
    if (selected?.kind === "console" && selected.vm === row.lane.name) this.ring(timeline.x(selected.t) - 1, 3, row);
  }

  /** Snapshots, reverts and forks lie across all machines. */
  across() {
    const { context } = this;
    for (const track of this.journal.lago.spans) {
      for (const item of this.choice.of(track.items)) {
        if (item.t > this.timeline.view.t1) break;
        const colour = { snapshot: this.colours.snapshot, revert: this.colours.revert, fork: this.colours.fork }[item.kind];
        if (!colour || item.t < this.timeline.view.t0) continue;
        const x = this.timeline.x(item.t);
        context.strokeStyle = colour;
        context.lineWidth = 1.5;
        context.setLineDash(item.kind === "snapshot" ? [] : [5, 3]);
        context.beginPath();
        context.moveTo(x, this.top);
        context.lineTo(x, this.timeline.height);
        context.stroke();
        context.setLineDash([]);
      }
    }
  }

  labels() {
    const { context } = this;
    for (const { lane, y, height } of this.timeline.lanes) {
      if (!this.sees({ y, height })) continue;
      context.font = BOLD;
      context.textBaseline = "top";
      context.fillStyle = this.colours.ink;
      const state = lane.machine ? this.journal.stateAt(lane.name, this.viewer.instant) : "";
      const room = this.left - (lane.machine ? 30 : 16);
      if (lane.machine) this.lamp(16, y + 14, stateColour(state, this.colours), Boolean(state));
      context.fillStyle = this.colours.ink;
      context.fillText(fitting(context, visible(lane.name), room), lane.machine ? 27 : 11, y + 8);
      if (state && height > 36) {
        context.font = SMALL;
        context.fillStyle = this.colours.dim;
        context.fillText(fitting(context, visible(state), room), 27, y + 24);
      }
    }
    this.fill(this.colours.line, this.left - 1, this.top, 1, this.room);
  }

  lamp(x, y, colour, known) {
    const { context } = this;
    context.beginPath();
    context.arc(x, y, 4.5, 0, Math.PI * 2);
    context.lineWidth = 1.5;
    context.strokeStyle = colour;
    context.fillStyle = colour;
    if (known) context.fill();
    context.stroke();
  }

  /** Call `draw` for each mark of the axis that is in sight. */
  ticks(draw) {
    const { view, perPixel } = this.timeline;
    const step = tickStep(perPixel * 92);
    const zero = this.viewer.clockTimes ? new Date(this.journal.start * 1000).getTimezoneOffset() * 60 : this.journal.start;
    const first = Math.ceil((view.t0 - zero) / step);
    const count = Math.min(200, Math.floor((view.t1 - zero) / step) - first + 1);
    for (let at = 0; at < count; at += 1) {
      const t = zero + (first + at) * step;
      const x = this.timeline.x(t);
      if (x >= this.left) draw(t, x, step);
    }
  }

  grid() {
    this.ticks((_, x) => this.fill(this.colours.line, x, this.top, 1, this.room, 0.7));
  }

  axis() {
    const { context, timeline } = this;
    this.fill(this.colours.card, 0, 0, this.right, AXIS);
    this.fill(this.colours.line, 0, AXIS - 1, this.right, 1);
    const { clockTimes } = this.viewer;
    context.font = SMALL;
    context.textBaseline = "middle";
    this.ticks((t, x, step) => {
      this.fill(this.colours.line, x, AXIS - 7, 1, 7);
      context.fillStyle = this.colours.dim;
      context.fillText(clockTimes ? clock(t, step) : relative(t - this.journal.start, step), x + 5, AXIS / 2);
    });
    this.fill(this.colours.card, 0, 0, this.left, AXIS - 1);
    context.fillStyle = this.colours.dim;
    context.fillText(fitting(context, clockTimes ? "time of day" : "since start", this.left - 14), 11, AXIS / 2);
  }

  /** The chosen instant, and the marked range while one is drawn. */
  cursor() {
    const { context, timeline } = this;
    if (timeline.marked) {
      const [from, to] = timeline.marked.map((t) => timeline.x(t)).sort((one, other) => one - other);
      this.fill(this.colours.accent, from, 0, to - from, this.room, 0.2);
    }
    const x = timeline.x(this.viewer.instant);
    if (x < this.left || x > this.right) return;
    this.fill(this.colours.accent, x - 0.75, 6, 1.5, this.room);
    const text = this.viewer.tell(this.viewer.instant, Math.max(0.001, timeline.perPixel));
    context.font = "600 11px system-ui, sans-serif";
    const width = context.measureText(text).width + 12;
    const from = Math.max(this.left, Math.min(x - width / 2, this.right - width));
    context.fillStyle = this.colours.accent;
    context.beginPath();
    context.roundRect(from, 4, width, 18, 4);
    context.fill();
    context.fillStyle = this.colours["bar-ink"];
    context.textBaseline = "middle";
    context.fillText(text, from + 6, 13.5);
  }
}

function loudIn(items, from, to) {
  for (let at = from; at < Math.min(to, from + 400); at += 1) if (items[at].loud) return true;
  return false;
}

function fitting(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let short = text.slice(0, 80);
  while (short && context.measureText(`${short}\u2026`).width > width) short = short.slice(0, -1);
  return `${short}\u2026`;
}

/** The whole journal in a strip: how much happened when, what failed, what a search found, and which part is looked at. */
function paintOverview(timeline, context) {
  const { journal, choice, colours, width, gutter } = timeline;
  const { t0, t1 } = timeline.extent;
  const items = choice.of(journal.items);
  const wide = 2;
  const scale = (t) => gutter + ((t - t0) / (t1 - t0)) * (width - gutter);
  context.fillStyle = colours.faint;
  context.fillRect(gutter, 0, width - gutter, OVERVIEW);
  let from = 0;
  for (let x = gutter; x < width; x += wide) {
    const to = before(items, t0 + ((x + wide - gutter) / (width - gutter)) * (t1 - t0));
    if (to > from) {
      const height = Math.min(OVERVIEW - 10, 2 + Math.log2(to - from + 1) * 3.4);
      context.fillStyle = colours.console;
      context.fillRect(x, OVERVIEW - height, wide - 0.5, height);
    }
    from = to;
  }
  strip(items.filter((one) => one.outcome === "failed"), colours.failed, 0, 7);
  strip(choice.hits, colours.hit, 9, 7);
  const [left, right] = [scale(timeline.view.t0), scale(timeline.view.t1)];
  context.globalAlpha = 0.55;
  context.fillStyle = colours.card;
  context.fillRect(gutter, 0, left - gutter, OVERVIEW);
  context.fillRect(right, 0, width - right, OVERVIEW);
  context.globalAlpha = 1;
  context.strokeStyle = colours.accent;
  context.lineWidth = 2;
  context.strokeRect(left + 1, 1, Math.max(3, right - left - 2), OVERVIEW - 2);
  context.fillStyle = colours.accent;
  context.fillRect(scale(timeline.viewer.instant) - 0.75, 0, 1.5, OVERVIEW);
  context.font = SMALL;
  context.fillStyle = colours.dim;
  context.textBaseline = "middle";
  context.fillText("whole", 11, OVERVIEW / 2);

  function strip(some, colour, y, height) {
    context.fillStyle = colour;
    let last = -Infinity;
    for (const item of some) {
      const x = scale(item.t);
      if (x - last < 1) continue;
      context.fillRect(x - 1, y, 2.5, height);
      last = x;
    }
  }
}
