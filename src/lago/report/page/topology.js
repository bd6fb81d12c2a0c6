// Nets as lines, machines below them, at the chosen instant: states, and what is broken.

const CELL = 121;
const NET_STEP = 40;

class TopologyView {
  constructor(viewer) {
    this.viewer = viewer;
    this.box = element("div", { class: "lv-topology-box", tabindex: "0", role: "group", "aria-label": "Machines and nets" });
    this.broken = element("ul", { class: "lv-broken" });
    const { head, node } = section("topology", "Topology", this.box, this.broken);
    this.when = element("span", { class: "lv-dim" });
    head.append(this.when);
    this.node = node;
  }

  update() {
    const { viewer } = this;
    const { journal, instant } = viewer;
    const faults = journal.faultsAt(instant);
    const states = [...journal.machines.keys()].map((name) => journal.stateAt(name, instant));
    const key = JSON.stringify([journal.version, states, faults.map((one) => one.entry.id)]);
    this.when.textContent = `at ${viewer.tell(instant)}`;
    if (key === this.drawn) return;
    this.drawn = key;
    this.box.replaceChildren(this.picture(faults));
    this.broken.replaceChildren(...faults.map((one) => element("li", {}, button(`${headline(one)}`, () => viewer.select(one), { class: "lv-link" }))));
    this.broken.hidden = !faults.length;
  }

  picture(faults) {
    const { journal, instant } = this.viewer;
    const broken = new Set(faults.flatMap((one) => targets(one)));
    const names = [...journal.machines.keys()];
    const nets = [...new Set([...Object.keys(journal.topology.nets), ...names.flatMap((name) => nicsOf(journal, name).map((one) => one.net))])];
    if (!names.length) return element("p", { class: "lv-dim" }, "The journal does not say which machines there are.");
    const top = nets.length * NET_STEP + 10;
    const width = names.length * CELL + 16;
    const height = top + 96;
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": this.words(names, nets, faults) });
    const titles = [];
    nets.forEach((net, at) => {
      const y = at * NET_STEP + 30;
      const spec = journal.topology.nets[net] ?? {};
      const bad = broken.has(net);
      picture.append(
        svg("line", { x1: 8, x2: width - 8, y1: y, y2: y, class: `lv-net lv-n${at % 6} ${bad ? "lv-isbroken" : ""}` }),
      );
      titles.push(svg("text", { x: 8, y: y - 8, class: "lv-net-name" }, clipped(visible(net), 24),
        svg("tspan", { class: "lv-net-more" }, `  ${visible(spec.subnet ?? spec.gw ?? "")} ${visible(spec.type ?? "")}`)));
    });
    names.forEach((name, at) => {
      const left = at * CELL + 12;
      const nics = nicsOf(journal, name);
      nics.forEach((nic, index) => {
        const net = nets.indexOf(nic.net);
        const x = left + ((CELL - 12) * (index + 1)) / (nics.length + 1);
        const y = net * NET_STEP + 30;
        const bad = broken.has(`${name}:${nic.net}`);
        picture.append(
          svg("line", { x1: x, x2: x, y1: y, y2: top + 14, class: `lv-wire lv-n${net % 6} ${bad ? "lv-isbroken" : ""}` }),
          svg("circle", { cx: x, cy: y, r: 3.5, class: `lv-plug lv-n${net % 6}` }));
      });
      const state = journal.stateAt(name, instant);
      const bad = broken.has(name);
      picture.append(svg("g", { class: `lv-machine lv-s-${stateClass(state)} ${bad ? "lv-isbroken" : ""}` },
        svg("rect", { x: left, y: top + 14, width: CELL - 12, height: 74, rx: 8 }),
        svg("circle", { cx: left + 14, cy: top + 31, r: 4.5, class: "lv-lamp" }),
        svg("text", { x: left + 25, y: top + 35, class: "lv-machine-name" }, clipped(visible(name), 11)),
        svg("text", { x: left + 12, y: top + 51, class: "lv-machine-state" }, `${visible(state) || "not known"}${bad ? ", broken" : ""}`),
        ...nics.slice(0, 2).map((nic, index) => svg("text", { x: left + 12, y: top + 66 + index * 13, class: "lv-address" }, clipped(visible(nic.ip ?? nic.mac ?? ""), 15)))));
    });
    picture.append(...titles);
    return picture;
  }

  words(names, nets, faults) {
    const { journal, instant } = this.viewer;
    const machines = names.map((name) => `${visible(name)} is ${visible(journal.stateAt(name, instant)) || "in an unknown state"}`);
    return [`Nets: ${nets.map((one) => visible(one)).join(", ")}.`, `${machines.join(", ")}.`, ...faults.map((one) => `Broken: ${headline(one)}.`)].join(" ");
  }
}

function nicsOf(journal, name) {
  const nics = journal.topology.vms[name]?.nics;
  return Array.isArray(nics) ? nics.filter((one) => one !== null && typeof one === "object" && typeof one.net === "string") : [];
}

function stateClass(state) {
  if (state === "running" || state === "paused" || state === "crashed") return state;
  return state ? "off" : "unknown";
}
