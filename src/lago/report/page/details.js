// All that is known of one item.

const TITLES = new Map(Object.entries({
  text: "text", nodeid: "test", name: "name", args: "arguments", by: "by", user: "user", tty: "terminal", direction: "direction",
  source: "from", target: "to", path: "path", reason: "reason", net: "net", ip: "address", mac: "hardware address",
  hostname: "host name", what: "kind", words: "words", targets: "targets", file: "file", form: "form", state: "state", up: "answers",
  vms: "machines", to: "to", to_prefix: "its id", from_prefix: "from id", from_path: "from", snapshot: "snapshot", phase: "phase",
  message: "message", error: "error", code: "exit code", result: "result", bytes: "bytes", files: "files", out_bytes: "output",
  err_bytes: "error output", cut: "cut", left_out: "left out before",
}));
const APART = new Set(["t", "kind", "id", "parent", "outcome", "vm", "out_first", "out_last", "err_first", "err_last"]);
const LONG = new Set(["text", "message", "error"]);

class Details {
  constructor(viewer) {
    this.viewer = viewer;
    this.body = element("div", { class: "lv-details-body", tabindex: "0", role: "group", "aria-label": "Details of what is selected" });
    const { head, node } = section("details", "Details", this.body);
    head.append(button("\u2039", () => viewer.step(-1), { "aria-label": "Event before", title: "Event before (p)" }));
    head.append(button("\u203a", () => viewer.step(1), { "aria-label": "Next event", title: "Next event (n)" }));
    this.node = node;
    this.show();
  }

  focus() {
    this.body.focus();
    this.node.scrollIntoView({ block: "nearest" });
  }

  show() {
    const item = this.viewer.selected;
    if (!item) {
      this.body.replaceChildren(element("p", { class: "lv-dim" }, "Nothing is selected. Click something on the lanes, or choose it in the list."));
      return;
    }
    this.body.replaceChildren(...[this.title(item), this.facts(item), ...this.output(item), this.family(item)].filter(Boolean));
    this.body.scrollTop = 0;
  }

  title(item) {
    const end = ending(item);
    const text = visible(longText(item), true);
    const block = item.kind === "command" || item.kind === "console" ? "pre" : "p";
    return element("div", { class: `lv-title lv-k-${groupOf(item.kind)} ${item.outcome === "failed" ? "lv-bad" : ""}` },
      element("div", { class: "lv-badges" },
        element("span", { class: "lv-kind" }, KINDS[item.kind].one),
        item.vm ? element("b", {}, visible(item.vm)) : null,
        end ? element("span", { class: `lv-badge lv-o-${item.outcome}` }, end) : null),
      element(block, { class: "lv-text" }, ...this.viewer.found(text || "(nothing)")));
  }

  facts(item) {
    const { journal } = this.viewer;
    const rows = [];
    const row = (name, ...value) => rows.push(element("div", {}, element("dt", {}, name), element("dd", {}, ...value)));
    row(item.span ? "began" : "at", `${relative(item.t - journal.start)} `, element("span", { class: "lv-dim" }, full(item.t)));
    if (item.span && item.ending) {
      row("ended", `${relative(item.end - journal.start)} `, element("span", { class: "lv-dim" }, full(item.end)));
      row("took", duration(item.end - item.t));
    } else if (item.span) row("ended", this.viewer.live ? "not yet" : "nobody saw it: it was killed, or was still going on");
    const all = { ...item.entry, ...item.ending };
    for (const [key, value] of Object.entries(all)) {
      if (APART.has(key) || value === null || value === "" || value === false || (LONG.has(key) && plain(value) === plain(longText(item)))) continue;
      const size = (key.endsWith("bytes") || key === "left_out") && typeof value === "number" ? bytes(value) : null;
      row(TITLES.get(key) ?? visible(key), ...(size ? [size] : this.viewer.found(visible(value, true))));
    }
    return element("dl", { class: "lv-facts" }, ...rows);
  }

  output(item) {
    const end = item.ending ?? {};
    return [["out", "output"], ["err", "error output"]].map(([stream, name]) => this.stream(end, stream, name)).filter(Boolean);
  }

  stream(end, stream, name) {
    const first = plain(end[`${stream}_first`]);
    const last = plain(end[`${stream}_last`]);
    if (!first && !last) return null;
    const parts = [element("pre", {}, ...this.viewer.found(visible(first, true)))];
    if (last) {
      const size = new TextEncoder().encode(first + last).length;
      const rest = Number(end[`${stream}_bytes`]) - size;
      parts.push(element("p", { class: "lv-gap" }, rest > 0 ? `${bytes(rest)} are left out here` : "some is left out here"));
      parts.push(element("pre", {}, ...this.viewer.found(visible(last, true))));
    }
    return element("div", { class: `lv-stream lv-${stream}` }, element("h3", {}, name), ...parts);
  }

  /** What it was a part of, and what was a part of it. */
  family(item) {
    const { journal } = this.viewer;
    const parent = journal.spans.get(item.entry.parent);
    const children = item.span ? (journal.children.get(item.entry.id) ?? []) : [];
    if (!parent && !children.length) return null;
    const link = (one, before = "") => element("li", {}, button(`${before}${KINDS[one.kind].one} ${clipped(headline(one), 90)}`, () => this.viewer.select(one), {
      class: `lv-link ${one.outcome === "failed" ? "lv-bad" : ""}`,
    }));
    return element("div", { class: "lv-family" },
      parent ? element("div", {}, element("h3", {}, "part of"), element("ul", {}, link(parent))) : null,
      children.length ? element("div", {}, element("h3", {}, `has ${several(children.length, "part")}`),
        element("ul", {}, ...[...children].sort((one, other) => (other.outcome === "failed") - (one.outcome === "failed") || one.t - other.t).slice(0, 30).map((one) => link(one)),
          children.length > 30 ? element("li", { class: "lv-dim" }, `and ${children.length - 30} more`) : null)) : null);
  }
}

function longText(item) {
  const { kind, entry } = item;
  return kind === "command" || kind === "console" || kind === "note" ? entry.text : headline(item);
}
