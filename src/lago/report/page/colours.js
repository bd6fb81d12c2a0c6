// The colours of the style sheet, for what is drawn on a canvas.

const COLOURS = [
  "bg", "card", "ink", "dim", "line", "faint", "accent", "bar-ink", "command", "script", "copy", "verb", "snapshot", "revert", "fork",
  "test", "fault", "console", "ssh", "lease", "screen", "note", "capture", "ok", "failed", "skipped", "interrupted", "paused", "off", "hit", "state",
];

function readColours(root) {
  const probe = element("span", { hidden: true });
  root.append(probe);
  const colours = {};
  for (const name of COLOURS) {
    probe.style.color = `var(--lv-${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}

function colourOf(item, colours) {
  if (item.outcome === "failed") return colours.failed;
  if (item.outcome === "interrupted") return colours.interrupted;
  if (item.kind === "test") return item.outcome === "skipped" ? colours.skipped : colours.ok;
  return colours[groupOf(item.kind)];
}

function stateColour(state, colours) {
  if (state === "running") return colours.ok;
  if (state === "crashed") return colours.failed;
  if (state === "paused" || state === "suspended") return colours.paused;
  return colours.off;
}
