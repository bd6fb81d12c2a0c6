// The journal as lanes of items in the order of time.

const SPANS = new Set([
  "verb", "command", "copy", "script", "snapshot", "revert", "delete-snapshot", "fork", "test", "fault", "capture",
]);
const LOUD = /\b(panic|oops|BUG|fatal|segfault|errors?|fail(ed|ure)?|denied|out of memory)\b/i;

class Item {
  constructor(entry) {
    this.entry = entry;
    this.kind = entry.kind;
    this.t = entry.t;
    this.span = SPANS.has(entry.kind) && typeof entry.id === "string";
    this.end = this.span ? Infinity : entry.t;
    this.outcome = this.span ? "open" : "";
    this.ending = null;
    this.vm = typeof entry.vm === "string" ? entry.vm : "";
    this.track = null;
    this.loud = entry.kind === "console" && LOUD.test(plain(entry.text));
    if (entry.kind === "state" && entry.state === "crashed") this.outcome = "failed";
  }

  close(entry) {
    this.ending = entry;
    this.end = Math.max(this.t, entry.t);
    const bad = entry.result === "failed" || entry.result === "error" || (typeof entry.code === "number" && entry.code !== 0);
    if (entry.outcome === "interrupted") this.outcome = "interrupted";
    else this.outcome = entry.outcome === "failed" || bad ? "failed" : "ok";
    if (entry.result === "skipped") this.outcome = "skipped";
  }
}

/** Items that do not overlap, by time. */
class Track {
  constructor() {
    this.items = [];
    this.failed = [];
    this.busy = -Infinity;
  }

  add(item) {
    insert(this.items, item);
    if (item.outcome === "failed") insert(this.failed, item);
  }
}

/** Put an item where it belongs; nearly always that is at the end. */
function insert(items, item) {
  let at = items.length;
  while (at > 0 && items[at - 1].t > item.t) at -= 1;
  if (at === items.length) items.push(item);
  else items.splice(at, 0, item);
}

/** How many items begin before `t`. */
function before(items, t) {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle].t < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The last item that began at `t` or before, or null. */
function lastAt(items, t) {
  let at = before(items, t);
  while (at < items.length && items[at].t <= t) at += 1;
  return at ? items[at - 1] : null;
}

class Lane {
  constructor(name, machine) {
    this.name = name;
    this.machine = machine;
    this.spans = [];
    this.faults = [];
    this.state = new Track();
    this.ssh = new Track();
    this.marks = new Track();
    this.console = new Track();
  }

  /** Put a span into the first row that has room for it. */
  pack(rows, item) {
    let row = rows.find((one) => one.busy <= item.t);
    if (!row) rows.push((row = new Track()));
    row.busy = item.end;
    item.tracks = [...(item.tracks ?? []), row];
    row.add(item);
  }
}

class Journal {
  constructor() {
    this.items = [];
    this.spans = new Map();
    this.children = new Map();
    this.faults = [];
    this.screens = [];
    this.machines = new Map();
    this.tests = new Lane("Tests", false);
    this.lago = new Lane("Lago", false);
    this.topology = { vms: {}, nets: {} };
    this.head = {};
    this.start = Infinity;
    this.last = -Infinity;
    this.version = 0;
  }

  /** Take entries in, in any order, though they come nearly in that of time. */
  append(entries) {
    const sound = entries.filter((one) => one !== null && typeof one === "object" && Number.isFinite(one.t) && typeof one.kind === "string");
    sound.sort((one, other) => one.t - other.t);
    for (const entry of sound) {
      this.start = Math.min(this.start, entry.t);
      this.last = Math.max(this.last, entry.t);
      if (entry.kind === "end") this.close(entry);
      else if (entry.kind === "journal") this.head = { ...entry, since: this.head.since ?? entry.t };
      else if (entry.kind === "topology") this.draw(entry);
      else if (KNOWN.has(entry.kind)) this.place(new Item(entry));
    }
    this.version += 1;
  }

  draw(entry) {
    const record = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});
    this.topology = { vms: record(entry.vms), nets: record(entry.nets) };
    for (const name of Object.keys(this.topology.vms)) this.lane(name);
  }

  lane(name) {
    if (!this.machines.has(name)) this.machines.set(name, new Lane(name, true));
    return this.machines.get(name);
  }

  close(entry) {
    const item = this.spans.get(entry.id);
    if (!item || item.ending) return;
    item.close(entry);
    for (const track of item.tracks ?? []) {
      if (track.busy === Infinity) track.busy = item.end;
      if (item.outcome === "failed") insert(track.failed, item);
    }
  }

  place(item) {
    insert(this.items, item);
    if (item.kind === "fault") insert(this.faults, item);
    if (item.kind === "screen") insert(this.screens, item);
    if (item.span) this.spans.set(item.entry.id, item);
    if (typeof item.entry.parent === "string") {
      if (!this.children.has(item.entry.parent)) this.children.set(item.entry.parent, []);
      this.children.get(item.entry.parent).push(item);
    }
    const place = KINDS[item.kind].place;
    if (place === "tests") return this.tests.pack(this.tests.spans, item);
    if (place === "faults") return this.breaks(item);
    const lane = item.vm ? this.lane(item.vm) : this.lago;
    if (place === "lago" || place === "spans") {
      if (item.span) return (place === "lago" ? this.lago : lane).pack((place === "lago" ? this.lago : lane).spans, item);
      return this.lago.marks.add(item);
    }
    return lane[place].add(item);
  }

  /** A fault lies over all lanes of machines that it names, or over that of Lago. */
  breaks(item) {
    const names = targets(item).filter((one) => this.machines.has(one));
    item.machines = names;
    for (const lane of names.length ? names.map((one) => this.lane(one)) : [this.lago]) lane.pack(lane.faults, item);
  }

  faultsAt(t) {
    return this.faults.filter((one) => one.t <= t && one.end > t && one.span);
  }

  stateAt(name, t) {
    const item = this.machines.has(name) && lastAt(this.lane(name).state.items, t);
    return item ? plain(item.entry.state) : "";
  }

  /** When an item ended, or where the journal does. */
  endOf(item) {
    return item.end === Infinity ? Math.max(this.last, item.t) : item.end;
  }
}

/** The words of what a fault or a snapshot is about: machines, nets, and what is written as `machine:net`. */
function targets(item) {
  const found = new Set();
  const walk = (value) => {
    if (typeof value === "string") for (const one of [value, ...value.split(/[:/, ]+/)]) found.add(one);
    else if (Array.isArray(value)) value.forEach(walk);
    else if (value !== null && typeof value === "object") Object.values(value).forEach(walk);
  };
  walk(item.entry.targets);
  walk(item.entry.vms);
  walk(item.entry.vm);
  return [...found];
}
