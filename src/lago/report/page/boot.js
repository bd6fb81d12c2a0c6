// The page of a report: unpack what it has in it, and show it.

async function unpacked(id) {
  const text = document.getElementById(id).textContent.trim();
  const packed = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

async function boot() {
  const root = document.getElementById("lago");
  try {
    const { entries, pictures } = await unpacked("lago-data");
    const viewer = new LagoViewer(root, { picture: (file) => (Object.hasOwn(pictures, file) ? pictures[file] : null) });
    viewer.append(entries);
    root.dataset.ready = "yes";
  } catch (error) {
    root.replaceChildren(element("p", { class: "lv-failed" }, `This report can't be shown: ${error.message}. A browser of 2024 or later is needed.`));
    throw error;
  }
}

boot();
