// Wheel, pointer and keys on the timeline.

class Gestures {
  constructor(timeline) {
    this.timeline = timeline;
    this.viewer = timeline.viewer;
    const { canvas, overview } = timeline;
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => (timeline.tip.hidden = true));
    canvas.addEventListener("dblclick", (event) => this.timeline.zoom(0.4, timeline.at(event.offsetX)));
    canvas.addEventListener("keydown", (event) => this.key(event));
    overview.addEventListener("pointerdown", (event) => this.choose(event));
  }

  /** Over the plot the wheel zooms, sideways or with Shift it moves; over the names of machines it scrolls. */
  wheel(event) {
    const { timeline } = this;
    if (event.offsetX < timeline.gutter) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 16 : 1;
    const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      timeline.pan((sideways * unit) / timeline.width);
    } else {
      timeline.zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY * unit * 0.002))), timeline.at(event.offsetX));
    }
  }

  /** Drag moves; on the axis, or with Shift, it marks what to zoom to; a click chooses. */
  press(event) {
    if (event.button !== 0) return;
    const { timeline } = this;
    const { canvas, scroll } = timeline;
    const from = { x: event.offsetX, y: event.offsetY, top: scroll.scrollTop, view: { ...timeline.view } };
    const marks = event.shiftKey || event.offsetY < AXIS;
    let moved = false;
    const move = (now) => {
      const box = canvas.getBoundingClientRect();
      const [x, y] = [now.clientX - box.left, now.clientY - box.top];
      moved ||= Math.abs(x - from.x) > 4 || Math.abs(y - from.y) > 4;
      if (!moved) return;
      timeline.tip.hidden = true;
      if (marks) {
        timeline.marked = [timeline.at(from.x), timeline.at(Math.max(timeline.gutter, x))];
        timeline.draw();
      } else {
        const by = (from.x - x) * timeline.perPixel;
        timeline.show(from.view.t0 + by, from.view.t1 + by);
        scroll.scrollTop = from.top + from.y - y;
      }
    };
    const end = (last) => {
      canvas.removeEventListener("pointermove", move);
      canvas.removeEventListener("pointerup", end);
      canvas.removeEventListener("pointercancel", end);
      const range = timeline.marked?.toSorted((one, other) => one - other);
      timeline.marked = null;
      if (moved && range) timeline.show(range[0], range[1]);
      else if (!moved && last.type === "pointerup") this.click(from.x, from.y + scroll.scrollTop);
    };
    canvas.setPointerCapture(event.pointerId);
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
  }

  click(x, y) {
    const { timeline } = this;
    if (x < timeline.gutter) return;
    const item = y - timeline.scroll.scrollTop < AXIS ? null : timeline.itemAt(x, y);
    if (item) this.viewer.select(item, timeline.at(x));
    else this.viewer.go(timeline.at(x));
  }

  hover(event) {
    const { timeline } = this;
    const { tip, canvas } = timeline;
    if (event.buttons || !timeline.rows) return;
    const item = event.offsetY < AXIS ? null : timeline.itemAt(event.offsetX, event.offsetY + timeline.scroll.scrollTop);
    canvas.style.cursor = item ? "pointer" : event.offsetY < AXIS ? "col-resize" : "grab";
    tip.hidden = !item;
    if (!item) return;
    tip.replaceChildren(
      element("b", {}, clipped(headline(item), 160)),
      element("span", {}, [KINDS[item.kind].one, item.vm && visible(item.vm), item.span && duration(this.viewer.journal.endOf(item) - item.t), ending(item)].filter(Boolean).join(" \u00b7 ")),
    );
    const box = timeline.node.getBoundingClientRect();
    const x = Math.min(event.clientX - box.left + 14, box.width - Math.min(380, box.width) + 8);
    tip.style.left = `${Math.max(4, x)}px`;
    tip.style.top = `${event.clientY - box.top + 18}px`;
  }

  key(event) {
    const { timeline, viewer } = this;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => (event.shiftKey ? timeline.pan(-0.2) : this.step(-1)),
      ArrowRight: () => (event.shiftKey ? timeline.pan(0.2) : this.step(1)),
      ArrowUp: () => this.lane(-1),
      ArrowDown: () => this.lane(1),
      Home: () => viewer.go(viewer.journal.start),
      End: () => viewer.go(viewer.journal.last),
      Enter: () => viewer.details.focus(),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  /** The next item of the lane of what is selected. */
  step(by) {
    const { viewer } = this;
    const items = this.itemsOf(this.current());
    const { selected } = viewer;
    let at = selected ? items.indexOf(selected) + by : before(items, viewer.instant) + (by < 0 ? -1 : 0);
    if (selected && !items.includes(selected)) at = before(items, viewer.instant);
    if (items[at]) viewer.select(items[at]);
  }

  itemsOf(lane) {
    const { journal, choice } = this.viewer;
    if (!lane) return choice.listed;
    const mine = (one) => (lane.machine ? one.vm === lane.name || one.machines?.includes(lane.name) : lane === journal.tests ? one.kind === "test" : !one.vm && one.kind !== "test");
    return choice.listed.filter(mine);
  }

  current() {
    const { timeline, viewer } = this;
    if (viewer.lane && timeline.lanes.some((one) => one.lane === viewer.lane)) return viewer.lane;
    return viewer.laneOf(viewer.selected) ?? timeline.lanes[0]?.lane;
  }

  lane(by) {
    const { timeline, viewer } = this;
    const lanes = timeline.lanes.map((one) => one.lane);
    const at = Math.max(0, Math.min(lanes.length - 1, lanes.indexOf(this.current()) + by));
    const items = this.itemsOf(lanes[at]);
    const near = lastAt(items, viewer.instant) ?? items[0];
    if (near) viewer.select(near, viewer.instant);
    viewer.lane = lanes[at];
  }

  /** On the whole: drag over what to look at, or click to move there. */
  choose(event) {
    const { timeline } = this;
    const { overview } = timeline;
    const { t0, t1 } = timeline.extent;
    const at = (x) => t0 + (Math.max(0, x - timeline.gutter) / (timeline.width - timeline.gutter)) * (t1 - t0);
    const from = event.offsetX;
    const move = (now) => {
      if (Math.abs(now.offsetX - from) > 4) timeline.show(Math.min(at(from), at(now.offsetX)), Math.max(at(from), at(now.offsetX)));
    };
    const end = (last) => {
      overview.removeEventListener("pointermove", move);
      overview.removeEventListener("pointerup", end);
      overview.removeEventListener("pointercancel", end);
      if (Math.abs(last.offsetX - from) > 4) return;
      const length = timeline.view.t1 - timeline.view.t0;
      timeline.show(at(from) - length / 2, at(from) + length / 2);
    };
    overview.setPointerCapture(event.pointerId);
    overview.addEventListener("pointermove", move);
    overview.addEventListener("pointerup", end);
    overview.addEventListener("pointercancel", end);
  }
}
