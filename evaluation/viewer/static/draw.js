// Painting: slots side by side, each a panel with or without outlines. All lengths on screen in CSS px.
// `look` is { zoom: px per mm, row: mm, cols: [mm, one a panel], window: [low, high], shown: Set of layer keys }.

const MARGIN = 6, INK = "#1b2733", FONT = "12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif";

function slotRectangles(slots, width, height) {
  const each = width / slots.length;
  return slots.map((slot, i) => ({ ...slot, x: i * each, y: 0, width: each, height }));
}

// More counts are darker, as nuclear medicine reads bone scans.
function recolour(panel, [low, high]) {
  panel.bitmap ??= Object.assign(document.createElement("canvas"), { width: panel.width, height: panel.height });
  const context = panel.bitmap.getContext("2d");
  const picture = context.createImageData(panel.width, panel.height);
  const pixels = new Uint32Array(picture.data.buffer);
  if (!panel.stored) pixels.fill(0xffffffff);
  else {
    const table = new Uint32Array(65536);
    const littleEndian = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
    for (let stored = 0; stored < 65536; stored++) {
      const share = (panel.image.offset + panel.image.scale * stored - low) / (high - low);
      const grey = Math.round(255 * (1 - Math.min(1, Math.max(0, share))));
      table[stored] = littleEndian ? (0xff000000 | (grey * 0x010101)) >>> 0 : ((grey * 0x01010100) | 0xff) >>> 0;
    }
    for (let i = 0; i < pixels.length; i++) pixels[i] = table[panel.stored[i]];
  }
  context.putImageData(picture, 0, 0);
}

// Screen position of a point given in px of the panel (corner of the image at 0).
function onScreen(slot, panel, look, x, y) {
  return [
    slot.x + slot.width / 2 + (x * panel.spacing[1] - look.cols[slot.panel]) * look.zoom,
    slot.y + slot.height / 2 + (y * panel.spacing[0] - look.row) * look.zoom,
  ];
}

function inPanel(slot, panel, look, screenX, screenY) {
  return [
    ((screenX - slot.x - slot.width / 2) / look.zoom + look.cols[slot.panel]) / panel.spacing[1],
    ((screenY - slot.y - slot.height / 2) / look.zoom + look.row) / panel.spacing[0],
  ];
}

function drawSlot(context, slot, panel, look, layers, findings) {
  const [left, top] = onScreen(slot, panel, look, 0, 0);
  const [right, bottom] = onScreen(slot, panel, look, panel.width, panel.height);
  context.save();
  context.beginPath();
  context.rect(slot.x, slot.y, slot.width, slot.height);
  context.clip();
  context.imageSmoothingEnabled = (right - left) / panel.width < 4; // closer up, single pixels are what one looks for
  context.imageSmoothingQuality = "high";
  context.drawImage(panel.bitmap, left, top, right - left, bottom - top);
  context.strokeStyle = "#c3ccd5";
  context.lineWidth = 1;
  context.strokeRect(left, top, right - left, bottom - top);
  if (slot.outlined) drawLayers(context, slot, panel, look, layers, findings);
  drawTitle(context, slot, panel);
  context.restore();
}

function drawLayers(context, slot, panel, look, layers, findings) {
  const [left, top] = onScreen(slot, panel, look, 0, 0);
  const matrix = new DOMMatrix([look.zoom * panel.spacing[1], 0, 0, look.zoom * panel.spacing[0], left, top]);
  // From the last to the first: the first layer lies on top.
  [...layers.entries()].reverse().forEach(([index, layer]) => {
    if (!look.shown.has(layer.key)) return;
    const path = new Path2D();
    path.addPath(layerPath(panel, index), matrix);
    strokeWithHalo(context, path, layer);
    if (layer.marker === "none") return;
    const markers = new Path2D();
    for (const finding of findings) {
      if (finding.layer !== layer.key || finding.panel !== slot.panel || finding.row === null) continue;
      const [x, y] = onScreen(slot, panel, look, finding.col + 0.5, finding.row + 0.5);
      const radius = finding.radius * look.zoom + MARGIN;
      markers.moveTo(x + radius, y);
      if (layer.marker === "ring") markers.arc(x, y, radius, 0, 2 * Math.PI);
      else markers.rect(x - radius, y - radius, 2 * radius, 2 * radius);
    }
    strokeWithHalo(context, markers, { ...layer, dash: [], width: 1.4 });
  });
}

// White below the line: a dark lesion would swallow it, on paper most of all.
function strokeWithHalo(context, path, { colour, dash, width }) {
  context.lineJoin = "round";
  context.setLineDash([]);
  context.strokeStyle = "rgba(255, 255, 255, 0.75)";
  context.lineWidth = width + 1.6;
  context.stroke(path);
  context.setLineDash(dash);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
  context.setLineDash([]);
}

function drawRing(context, slot, panel, look, finding) {
  const [x, y] = onScreen(slot, panel, look, finding.col + 0.5, finding.row + 0.5);
  const ring = new Path2D();
  ring.arc(x, y, Math.max(14, finding.radius * look.zoom + 12), 0, 2 * Math.PI);
  context.save();
  context.beginPath();
  context.rect(slot.x, slot.y, slot.width, slot.height);
  context.clip();
  strokeWithHalo(context, ring, { colour: INK, dash: [2, 4], width: 2.2 });
  context.restore();
}

function drawTitle(context, slot, panel) {
  const text = panel.title + (slot.outlined ? "" : (panel.title ? ", " : "") + "without outlines");
  label(context, text, slot.x + slot.width / 2, slot.y + 16, "center", slot.width - 2 * MARGIN);
  if (!panel.sides) return;
  label(context, panel.sides[0], slot.x + MARGIN, slot.y + slot.height / 2, "left");
  label(context, panel.sides[1], slot.x + slot.width - MARGIN, slot.y + slot.height / 2, "right");
}

function label(context, text, x, y, align, most = 1000) {
  context.font = FONT;
  context.textAlign = align;
  context.lineJoin = "round";
  context.lineWidth = 4;
  context.strokeStyle = "rgba(255, 255, 255, 0.85)";
  context.strokeText(text, x, y, most);
  context.fillStyle = INK;
  context.fillText(text, x, y, most);
}

// A round length in mm that takes a readable part of the width.
function drawScaleBar(context, slot, look) {
  const most = Math.min(160, slot.width * 0.4) / look.zoom;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((step) => step * power <= most);
  const x = slot.x + MARGIN + 4, y = slot.y + slot.height - 12;
  const bar = new Path2D(`M${x} ${y - 5}V${y}H${x + length * look.zoom}V${y - 5}`);
  strokeWithHalo(context, bar, { colour: INK, dash: [], width: 1.6 });
  label(context, `${Number(length.toPrecision(1))} mm`, x + (length * look.zoom) / 2, y - 8, "center");
}

function drawGreyScale(context, slot, look, unit) {
  const width = Math.min(120, slot.width * 0.5), x = slot.x + slot.width - width - MARGIN - 4, y = slot.y + slot.height - 20;
  const ramp = context.createLinearGradient(x, 0, x + width, 0);
  ramp.addColorStop(0, "#fff");
  ramp.addColorStop(1, "#000");
  context.fillStyle = ramp;
  context.fillRect(x, y, width, 8);
  context.strokeStyle = INK;
  context.lineWidth = 1;
  context.strokeRect(x, y, width, 8);
  label(context, readable(look.window[0]), x, y - 5, "left");
  label(context, `${readable(look.window[1])} ${unit}`, x + width, y - 5, "right");
}

function readable(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

// Everything on one canvas of the given CSS size.
function drawAll(canvas, width, height, ratio, slots, panels, look, layers, findings) {
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = "#eef1f4";
  context.fillRect(0, 0, width, height);
  const placed = slotRectangles(slots, width, height);
  for (const slot of placed) drawSlot(context, slot, panels[slot.panel], look, layers, findings);
  context.strokeStyle = "#c3ccd5";
  for (const slot of placed.slice(1)) context.strokeRect(slot.x, -1, 0, height + 2);
  drawScaleBar(context, placed[0], look);
  const last = placed[placed.length - 1];
  if (panels[last.panel].stored) drawGreyScale(context, last, look, panels[last.panel].unit);
  return placed;
}

// Zoom at which every panel is seen whole, and the middle of each.
function fitted(slots, panels, width, height) {
  const each = width / slots.length - 2 * MARGIN;
  const sizes = panels.map((panel) => [panel.height * panel.spacing[0], panel.width * panel.spacing[1]]);
  return {
    zoom: Math.min(...slots.map(({ panel: i }) => Math.min((height - 2 * MARGIN) / sizes[i][0], each / sizes[i][1]))),
    row: Math.max(...sizes.map((size) => size[0])) / 2,
    cols: sizes.map((size) => size[1] / 2),
  };
}
