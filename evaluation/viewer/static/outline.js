// Border of a layer along pixel edges, as closed loops, so that a dashed line runs on around corners.

// Loops of vertices [x, y] in px, the image's upper left corner at 0; the mask lies to the right of the way.
function outlineLoops(bits, bit, height, width) {
  const inside = (row, col) =>
    row >= 0 && col >= 0 && row < height && col < width && (bits[row * width + col] & bit) !== 0;
  const stride = width + 1;
  const ends = new Map(); // vertex -> where the edges that start there lead to
  const edge = (row, col, toRow, toCol) => {
    const from = row * stride + col;
    const known = ends.get(from);
    if (known) known.push(toRow * stride + toCol);
    else ends.set(from, [toRow * stride + toCol]);
  };
  for (let i = 0; i < bits.length; i++) {
    if (!(bits[i] & bit)) continue;
    const row = Math.floor(i / width), col = i % width;
    if (!inside(row - 1, col)) edge(row, col, row, col + 1);
    if (!inside(row, col + 1)) edge(row, col + 1, row + 1, col + 1);
    if (!inside(row + 1, col)) edge(row + 1, col + 1, row + 1, col);
    if (!inside(row, col - 1)) edge(row + 1, col, row, col);
  }
  const loops = [];
  for (const start of ends.keys()) {
    while (ends.get(start).length) {
      const loop = [];
      let vertex = start;
      do {
        loop.push([vertex % stride, Math.floor(vertex / stride)]);
        vertex = ends.get(vertex).pop();
      } while (vertex !== start);
      loops.push(loop);
    }
  }
  return loops;
}

// The loops of a panel's layer `index` as one path in px, kept once made.
function layerPath(panel, index) {
  if (!panel.paths.has(index)) {
    const path = new Path2D();
    for (const loop of outlineLoops(panel.bits, 1 << index, panel.height, panel.width)) {
      loop.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
      path.closePath();
    }
    panel.paths.set(index, path);
  }
  return panel.paths.get(index);
}
