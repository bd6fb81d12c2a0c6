// Elements. Text goes into text nodes and nowhere else, so nothing that a guest says becomes markup.

function element(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
}

function filled(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function button(label, act, properties = {}) {
  return element("button", { type: "button", onclick: act, ...properties }, label);
}

function section(id, title, ...children) {
  const heading = element("h2", { id: `lv-h-${id}` }, title);
  const head = element("div", { class: "lv-sec-head" }, heading);
  return { head, node: element("section", { class: `lv-card lv-${id}`, "aria-labelledby": heading.id }, head, ...children) };
}

/** Call `act` once for all that was asked before the next frame. */
function eachFrame(act) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      act();
    });
  };
}
