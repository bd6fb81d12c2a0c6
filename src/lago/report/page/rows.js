// A list of any length, of which only the rows in sight exist.

class Rows {
  /**
   * @param row how high one is, in pixels
   * @param fill (index) => what is in it: an object of `class`, `children` and attributes
   */
  constructor(row, properties, fill) {
    Object.assign(this, { row, fill, count: 0 });
    this.room = element("div", { class: "lv-rows-room", role: "presentation" });
    this.node = element("div", { tabindex: "0", ...properties, class: `lv-rows ${properties.class ?? ""}` }, this.room);
    this.draw = eachFrame(() => this.drawNow());
    this.node.addEventListener("scroll", this.draw);
    new ResizeObserver(this.draw).observe(this.node);
  }

  drawNow() {
    const { node, room, row } = this;
    room.style.height = `${this.count * row}px`;
    const first = Math.max(0, Math.floor(node.scrollTop / row) - 4);
    const last = Math.min(this.count, Math.ceil((node.scrollTop + node.clientHeight) / row) + 4);
    const rows = [];
    for (let at = first; at < last; at += 1) {
      const { children, ...properties } = this.fill(at);
      const one = element("div", properties, ...children);
      one.style.top = `${at * row}px`;
      rows.push(one);
    }
    room.replaceChildren(...rows);
  }

  /** Scroll such that a row is seen; where in the room, from 0 for the top to 1, if it must move. */
  reveal(index, where = 0.4) {
    const { node, row } = this;
    const top = index * row;
    this.room.style.height = `${this.count * row}px`;
    if (top < node.scrollTop || top + row > node.scrollTop + node.clientHeight) node.scrollTop = top - (node.clientHeight - row) * where;
    this.draw();
  }

  /** Have a row at a fixed place of the room, whatever is seen now. */
  place(index, where) {
    this.room.style.height = `${this.count * this.row}px`;
    this.node.scrollTop = index * this.row - (this.node.clientHeight - this.row) * where;
    this.draw();
  }
}
