// What kinds of entries there are, and what is said of one in a line.

const KINDS = {
  test: { label: "Tests", one: "test", place: "tests" },
  verb: { label: "Lago", one: "lago", place: "lago" },
  command: { label: "Commands", one: "command", place: "spans" },
  script: { label: "Scripts", one: "deploy script", place: "spans" },
  copy: { label: "Copies", one: "copy", place: "spans" },
  console: { label: "Console", one: "console", place: "console" },
  state: { label: "States", one: "state", place: "state" },
  ssh: { label: "SSH", one: "ssh", place: "ssh" },
  fault: { label: "Faults", one: "fault", place: "faults" },
  snapshot: { label: "Snapshots", one: "snapshot", place: "lago" },
  revert: { label: "Reverts", one: "revert", place: "lago" },
  "delete-snapshot": { label: "Snapshots", one: "delete snapshot", place: "lago", group: "snapshot" },
  fork: { label: "Forks", one: "fork", place: "lago" },
  forked: { label: "Forks", one: "forked", place: "lago", group: "fork" },
  capture: { label: "Captures", one: "capture", place: "lago" },
  lease: { label: "Leases", one: "lease", place: "marks" },
  screen: { label: "Screens", one: "screen", place: "marks" },
  note: { label: "Notes", one: "note", place: "marks" },
};
const KNOWN = new Map(Object.entries(KINDS));

/** The kind by whose colour and filter an entry goes. */
const groupOf = (kind) => KNOWN.get(kind).group ?? kind;

/** What an item is about, in one line, without marks of its own. */
function headline(item) {
  const entry = item.entry;
  const text = (key) => visible(entry[key]);
  const tell = {
    test: () => text("nodeid"),
    // The words of a command line begin with its name, the arguments of a method do not.
    verb: () => (text("args").split(" ")[0] === text("name") ? text("args") : `${text("name")} ${text("args")}`.trim()),
    command: () => text("text"),
    script: () => text("path"),
    copy: () => `${text("source")} \u2192 ${text("target")}`,
    console: () => text("text") + (entry.left_out ? ` (before it ${bytes(entry.left_out)} were left out)` : ""),
    state: () => text("state") + (entry.reason ? ` (${text("reason")})` : ""),
    ssh: () => (entry.up ? "answers" : "is gone"),
    fault: () => text("words") || `${text("what")} ${text("name")}`,
    snapshot: () => `snapshot ${text("name")}`,
    revert: () => `revert to ${text("name")}`,
    "delete-snapshot": () => `delete snapshot ${text("name")}`,
    fork: () => `fork of ${text("name")} to ${text("to")}`,
    forked: () => `forked from ${text("from_path")}, snapshot ${text("snapshot")}`,
    capture: () => `packets of ${text("net")}: ${text("file")}`,
    lease: () => `${text("ip")} on ${text("net")}`,
    screen: () => text("file"),
    note: () => text("text"),
  };
  return tell[item.kind]();
}

/** The same where there is little room: of a test without its file. */
function caption(item) {
  const text = headline(item);
  return item.kind === "test" ? text.slice(text.indexOf("::") + 1).replace(/^:/, "") : text;
}

/** How an item ended, in a word or two. */
function ending(item) {
  if (item.kind === "test" && item.ending) return visible(item.ending.result ?? item.ending.outcome);
  if (!item.span) return "";
  if (item.outcome === "open") return "no end";
  if (item.ending.code !== undefined && item.ending.code !== null && item.ending.code !== 0) return `exit ${visible(item.ending.code)}`;
  return item.outcome;
}
