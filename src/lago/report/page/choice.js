// What is shown of the journal: by kind, machine and outcome, and what a search finds.

class Choice {
  constructor(journal) {
    this.journal = journal;
    this.hiddenKinds = new Set();
    this.hiddenMachines = new Set();
    this.outcome = "";
    this.query = "";
    this.hits = [];
    this.version = 0;
    this.cache = new WeakMap();
  }

  changed() {
    this.version += 1;
    this.find();
  }

  shows(item) {
    if (this.hiddenKinds.size && this.hiddenKinds.has(groupOf(item.kind))) return false;
    if (item.vm && this.hiddenMachines.size && this.hiddenMachines.has(item.vm)) return false;
    if (!this.outcome) return true;
    return this.outcome === "loud" ? item.loud || item.outcome === "failed" : item.outcome === this.outcome;
  }

  get everything() {
    return !this.hiddenKinds.size && !this.hiddenMachines.size && !this.outcome;
  }

  /** Those of `items` that are shown; kept until there are more, or others are chosen. */
  of(items) {
    if (this.everything) return items;
    const kept = this.cache.get(items);
    if (kept && kept.version === this.version && kept.count === items.length && kept.journal === this.journal.version) return kept.shown;
    const shown = items.filter((one) => this.shows(one));
    this.cache.set(items, { version: this.version, count: items.length, journal: this.journal.version, shown });
    return shown;
  }

  /** Look through all texts of what is shown. */
  find() {
    const pattern = this.query && new RegExp(this.query.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"), "iu");
    this.hits = pattern ? this.of(this.journal.items).filter((one) => says(one.entry, pattern) || says(one.ending, pattern)) : [];
    this.found = new Set(this.hits);
  }

  /** What the list of events has. */
  get listed() {
    return this.query ? this.hits : this.of(this.journal.items);
  }
}

const MUTE = new Set(["t", "id", "parent", "outcome"]);

function says(entry, pattern) {
  if (!entry) return false;
  for (const key in entry) {
    if (MUTE.has(key)) continue;
    const value = entry[key];
    if (typeof value === "string" ? pattern.test(value) : value && typeof value === "object" && pattern.test(JSON.stringify(value))) return true;
  }
  return false;
}
