// The viewer: new LagoViewer(element, {live, picture}), and append(entries) with entries of a journal as they come.

class LagoViewer {
  /**
   * @param root the element that it fills
   * @param live more will come: the instant is now, until somebody chooses another
   * @param picture (file) => a URL of an image or the text of a screen; {missing: why}; or nothing
   */
  constructor(root, { live = false, picture = () => null } = {}) {
    Object.assign(this, { root, live, picture });
    this.journal = new Journal();
    this.choice = new Choice(this.journal);
    this.instant = 0;
    this.following = live;
    this.selected = null;
    this.lane = null;
    this.clockTimes = false;
    this.head = new Head(this);
    this.timeline = new Timeline(this);
    this.bar = new Bar(this);
    this.events = new Events(this);
    this.details = new Details(this);
    this.topology = new TopologyView(this);
    this.consoles = new Consoles(this);
    this.screens = new Screens(this);
    this.build();
    this.refresh = eachFrame(() => this.update());
    document.addEventListener("keydown", (event) => this.key(event));
    // Paper is light. Which of these comes first, or at all, is up to the browser, and none waits for a frame.
    globalThis.addEventListener("beforeprint", () => this.onPaper(true));
    globalThis.addEventListener("afterprint", () => this.onPaper(false));
    matchMedia("print").addEventListener("change", (event) => this.onPaper(event.matches));
  }

  build() {
    this.now = button("Follow", () => this.follow(), { class: "lv-now", title: "Go on with what happens now", hidden: !this.live });
    this.bar.node.querySelector(".lv-zoom").append(this.now);
    const lanes = element("section", { class: "lv-card lv-time", "aria-label": "Timeline" }, this.bar.node, this.timeline.node);
    const lower = element("div", { class: "lv-lower" }, this.events.node, this.details.node, this.topology.node);
    this.root.classList.add("lv");
    this.root.replaceChildren(this.head.node, element("main", { class: "lv-main" }, lanes, lower, this.consoles.node, this.screens.node));
  }

  /** Take entries in, as the journal has them. */
  append(entries) {
    const first = !this.journal.items.length;
    this.journal.append(entries);
    if (this.following) this.instant = this.journal.last;
    if (this.choice.query) this.choice.find();
    if (first && !this.live) this.open();
    this.refresh();
  }

  /** What is looked at first: what failed last, else the end. */
  open() {
    const failed = (kind) => this.journal.items.findLast((one) => one.kind === kind && one.outcome === "failed");
    const test = failed("test");
    const within = (one) => one.kind === "command" && one.outcome === "failed" && one.t >= test.t && one.t <= this.journal.endOf(test);
    const item = test ? (this.journal.items.findLast(within) ?? test) : (failed("command") ?? failed("verb"));
    this.instant = item ? item.t : this.journal.last;
    if (item) this.select(item);
  }

  /** Choose an item, and the instant `t`, or that at which it began, a failed test failed. */
  select(item, t = this.instantOf(item), reveal = true) {
    this.selected = item;
    this.lane = null;
    this.following = false;
    this.instant = t;
    if (reveal && this.timeline.view) this.timeline.reveal(item);
    this.details.show();
    this.events.selected();
    this.atInstant();
    this.root.dispatchEvent(new CustomEvent("lago-select", { detail: { entry: item.entry, end: item.ending } }));
  }

  instantOf(item) {
    return item.kind === "test" && item.outcome === "failed" ? item.end : item.t;
  }

  /** Choose an instant. */
  go(t) {
    this.instant = Math.max(this.journal.start, Math.min(this.journal.last, t));
    this.following = false;
    this.events.follow();
    this.atInstant();
  }

  follow() {
    this.following = true;
    this.instant = this.journal.last;
    this.timeline.showAll();
    this.events.follow();
    this.atInstant();
  }

  /** The next or the previous one of what is listed. */
  step(by) {
    this.bar.next(by);
  }

  failure(by) {
    const failed = this.choice.of(this.journal.items).filter((one) => one.outcome === "failed");
    if (!failed.length) return;
    let at = this.selected ? indexIn(failed, this.selected) : -1;
    at = at >= 0 ? at + by : before(failed, this.instant) - (by < 0 ? 1 : 0);
    this.select(failed[(at + failed.length) % failed.length]);
  }

  laneOf(item) {
    if (!item) return null;
    if (item.kind === "test") return this.journal.tests;
    return this.journal.machines.get(item.vm || item.machines?.[0]) ?? this.journal.lago;
  }

  setClock(wanted) {
    this.clockTimes = wanted;
    this.head.times.setAttribute("aria-pressed", String(wanted));
    this.update();
  }

  /** An instant in words. */
  tell(t, step = 0.001) {
    return this.clockTimes ? clock(t, step) : relative(t - this.journal.start, step);
  }

  /** A text as nodes, with what is searched for marked. */
  found(text) {
    const { query } = this.choice;
    if (!query) return [text];
    const pattern = new RegExp(query.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "giu");
    const nodes = [];
    let from = 0;
    for (const match of text.matchAll(pattern)) {
      nodes.push(text.slice(from, match.index), element("mark", {}, match[0]));
      from = match.index + match[0].length;
      if (nodes.length > 400) break;
    }
    return [...nodes, text.slice(from)];
  }

  /** All that depends on the chosen instant. */
  atInstant() {
    this.now.hidden = !this.live || this.following;
    this.timeline.draw();
    this.events.rows.draw();
    this.topology.update();
    this.consoles.update();
    this.screens.update();
    this.bar.tell();
  }

  /** All that depends on what there is, and what is shown of it. */
  update() {
    this.head.update();
    this.bar.update();
    this.events.update();
    if (this.following) this.events.follow();
    if (this.selected) {
      this.details.show();
      this.events.selected();
    }
    this.atInstant();
  }

  repaint() {
    this.timeline.colours = null;
    this.timeline.draw();
  }

  onPaper(printed) {
    if (printed) document.documentElement.dataset.theme = "light";
    else this.head.paint(this.head.theme.value);
    this.timeline.colours = null;
    this.timeline.drawNow();
  }

  key(event) {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable], dialog, .xterm");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const acts = {
      "/": () => this.bar.input.focus(),
      n: () => this.step(1),
      p: () => this.step(-1),
      N: () => this.step(-1),
      f: () => this.failure(1),
      F: () => this.failure(-1),
      "+": () => this.timeline.zoom(0.5),
      "=": () => this.timeline.zoom(0.5),
      "-": () => this.timeline.zoom(2),
      0: () => this.timeline.showAll(),
      t: () => this.setClock(!this.clockTimes),
      "?": () => this.head.help.open(),
    };
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  }
}

globalThis.LagoViewer = LagoViewer;
