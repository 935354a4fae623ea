// From the text of the page to pixels. Canvas read-back is never used: browsers that guard against fingerprinting falsify it.

async function inflated(base64) {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Panels of case `number`: as packing.py's pack_panel made them, with `stored` (Uint16Array or null), `bits` (Uint8Array).
async function decodedPanels(number) {
  const panels = JSON.parse(document.getElementById(`viewer-case-${number}`).textContent);
  return Promise.all(panels.map(async (panel) => {
    const pixels = panel.height * panel.width;
    const bits = await inflated(panel.layers);
    let stored = null;
    if (panel.image) {
      const planes = await inflated(panel.image.data);
      stored = new Uint16Array(pixels);
      for (let i = 0; i < pixels; i++) stored[i] = planes[i] | (planes[pixels + i] << 8);
    }
    return { ...panel, stored, bits, paths: new Map(), bitmap: null };
  }));
}

function valueAt(panel, row, col) {
  if (!panel.stored || row < 0 || col < 0 || row >= panel.height || col >= panel.width) return null;
  return panel.image.offset + panel.image.scale * panel.stored[row * panel.width + col];
}

// Least and greatest value of a case, and those below which lie the given fractions of the pixels above the least.
function distribution(panels, fractions) {
  const shown = panels.filter((panel) => panel.stored);
  if (!shown.length) return null;
  const tally = new Map();
  for (const panel of shown) {
    const histogram = new Uint32Array(65536);
    for (const stored of panel.stored) histogram[stored]++;
    histogram.forEach((count, stored) => {
      if (!count) return;
      const value = panel.image.offset + panel.image.scale * stored;
      tally.set(value, (tally.get(value) || 0) + count);
    });
  }
  const values = [...tally.keys()].sort((a, b) => a - b);
  const low = values[0];
  const above = values.slice(1);
  const total = above.reduce((sum, value) => sum + tally.get(value), 0);
  const limits = fractions.map((fraction) => {
    let sum = 0;
    return above.find((value) => (sum += tally.get(value)) >= fraction * total) ?? low + 1;
  });
  const exact = shown.every((panel) => panel.image.exact);
  return { low, high: above.length ? above[above.length - 1] : low + 1, limits, exact, whole: exact };
}
