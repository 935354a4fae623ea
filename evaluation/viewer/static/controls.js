// Mouse, keyboard and form controls.

// The sliders run with the third power: bone lies in the lowest hundredth of the counts of a full bladder.
const toSlider = (value, { low, high }) => 1000 * Math.cbrt((Math.min(value, high) - low) / (high - low));
const fromSlider = (position, { low, high, whole }) => {
  const value = low + (high - low) * (position / 1000) ** 3;
  return whole && high - low > 50 ? Math.round(value) : value;
};

function showWindow(root, range, [low, high]) {
  for (const [name, value] of [["low", low], ["high", high]]) {
    root.querySelector(`.v-${name}`).value = toSlider(value, range);
    root.querySelector(`.v-${name}-number`).value = Number(value.toPrecision(5));
  }
}

function connectForms(viewer) {
  const { root, find, index, state, table, options } = viewer;
  const layers = find(".v-layers");
  for (const layer of index.layers) {
    const box = element("input", { type: "checkbox", checked: true, value: layer.key });
    box.onchange = () => viewer.setLayer(layer.key, box.checked);
    layers.append(element("label", {}, box, swatch(layer), `${layer.label} `, element("kbd", {}, layer.shortcut)));
    find(".v-filter").append(element("option", { value: layer.key }, layer.label));
  }
  find(".v-filter").onchange = (event) => { table.filter = event.target.value; viewer.showTable(); };
  find(".v-more").onclick = () => { table.everything = true; viewer.showTable(); };
  root.querySelectorAll("[data-scope]").forEach((tab) => {
    tab.onclick = () => { Object.assign(table, { scope: tab.dataset.scope, sorted: null, everything: false }); viewer.showTable(); };
  });
  PRESETS.forEach(([name, share], i) => {
    const title = share < 1 ? `${100 * share} % of the pixels with counts lie below the upper limit (${i + 1})` : `all counts (${i + 1})`;
    find(".v-presets").append(element("button", { type: "button", title, onclick: () => viewer.preset(i) }, name));
  });
  const limits = () => state.look.window;
  find(".v-low").oninput = (event) => viewer.setWindow(fromSlider(event.target.value, state.range), limits()[1]);
  find(".v-high").oninput = (event) => viewer.setWindow(limits()[0], fromSlider(event.target.value, state.range));
  const typed = (event, set) => { if (event.target.value !== "" && Number.isFinite(event.target.valueAsNumber)) set(event.target.valueAsNumber); };
  find(".v-low-number").onchange = (event) => typed(event, (value) => viewer.setWindow(value, limits()[1]));
  find(".v-high-number").onchange = (event) => typed(event, (value) => viewer.setWindow(limits()[0], value));
  find(".v-keep").onchange = (event) => { options.keepWindow = event.target.checked; };
  find(".v-find").oninput = (event) => {
    const wanted = event.target.value.toLowerCase();
    [...find(".v-cases ol").children].forEach((item, i) => { item.hidden = !index.cases[i].name.toLowerCase().includes(wanted); });
  };
  const actions = actionsOf(viewer);
  root.querySelectorAll("[data-do]").forEach((button) => (button.onclick = () => actions[button.dataset.do]()));
  find(".v-layer-keys").textContent = index.layers.map((layer) => layer.shortcut).join(", ");
}

function actionsOf(viewer) {
  return {
    previous: () => viewer.openCase(viewer.state.number - 1),
    next: () => viewer.openCase(viewer.state.number + 1),
    "zoom-in": () => viewer.zoomBy(1.25),
    "zoom-out": () => viewer.zoomBy(0.8),
    reset: viewer.reset,
    double: viewer.toggleDouble,
    full: viewer.toggleFull,
    help: () => viewer.find(".v-help").showModal(),
  };
}

function connectKeys(viewer) {
  const actions = actionsOf(viewer);
  const keys = {
    j: actions.next, ArrowRight: actions.next, ArrowDown: actions.next,
    k: actions.previous, ArrowLeft: actions.previous, ArrowUp: actions.previous,
    n: () => viewer.stepFinding(1), N: () => viewer.stepFinding(-1),
    h: viewer.toggleAll, d: actions.double, f: actions.full, 0: actions.reset,
    "+": actions["zoom-in"], "=": actions["zoom-in"], "-": actions["zoom-out"], "?": actions.help,
  };
  PRESETS.forEach((_, i) => (keys[i + 1] = () => viewer.preset(i)));
  for (const layer of viewer.index.layers) keys[layer.shortcut] = () => viewer.setLayer(layer.key, !viewer.shown.has(layer.key));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input:not([type=checkbox]):not([type=range]), select, textarea, dialog");
    if (event.ctrlKey || event.metaKey || event.altKey || typing || !keys[event.key]) return;
    const inside = viewer.root.contains(document.activeElement) || viewer.root.classList.contains("v-full");
    // Elsewhere on the page the arrows scroll; a slider keeps them for itself.
    if (event.key.startsWith("Arrow") && (!inside || event.target.matches?.("input"))) return;
    event.preventDefault();
    const box = viewer.canvas.getBoundingClientRect();
    if (box.bottom < 0 || box.top > window.innerHeight) viewer.root.scrollIntoView();
    keys[event.key]();
  });
}

function connectMouse(viewer) {
  const { canvas, state } = viewer;
  let drag = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = event.clientX - box.left - canvas.clientLeft, y = event.clientY - box.top - canvas.clientTop;
    return { x, y, slot: state.placed.find((slot) => x >= slot.x && x < slot.x + slot.width) };
  };
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    const { x, y, slot } = place(event);
    if (!slot) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const windowing = event.button === 2 || event.shiftKey;
    drag = { x, y, slot, windowing, look: { ...state.look, cols: [...state.look.cols] }, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    const { x, y, slot } = place(event);
    if (!drag) return readOut(viewer, slot, x, y);
    const dx = x - drag.x, dy = y - drag.y;
    drag.moved ||= Math.hypot(dx, dy) > 3;
    if (!drag.moved) return undefined;
    const [low, high] = drag.look.window;
    if (drag.windowing) return viewer.setWindow(low - (dy / 300) * (high - low), low + (high - low) * Math.exp(dx / 150));
    const cols = [...drag.look.cols];
    cols[drag.slot.panel] -= dx / drag.look.zoom;
    return viewer.moveTo({ zoom: drag.look.zoom, row: drag.look.row - dy / drag.look.zoom, cols });
  });
  const release = (event) => {
    if (drag && !drag.moved && event.type === "pointerup" && !drag.windowing) pick(viewer, drag.slot, drag.x, drag.y);
    drag = null;
  };
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { viewer.find(".v-readout").textContent = "\u00a0"; });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas && !viewer.root.classList.contains("v-full")) return;
    event.preventDefault();
    const { x, y, slot } = place(event);
    if (slot) viewer.zoomBy(Math.exp(-event.deltaY / (event.deltaMode ? 20 : 500)), slot, x, y);
  }, { passive: false });
}

function readOut(viewer, slot, x, y) {
  let text = "\u00a0";
  if (slot) {
    const panel = viewer.state.panels[slot.panel];
    const [col, row] = inPanel(slot, panel, viewer.state.look, x, y);
    if (col >= 0 && row >= 0 && col < panel.width && row < panel.height) {
      const value = valueAt(panel, Math.floor(row), Math.floor(col));
      const counts = value === null ? "no image" : `${readable(value)} ${panel.unit}`;
      text = `row ${Math.floor(row)}, column ${Math.floor(col)}   ${counts}   `
        + `${(row * panel.spacing[0]).toFixed(0)} mm down, ${(col * panel.spacing[1]).toFixed(0)} mm across`;
    }
  }
  viewer.find(".v-readout").textContent = text;
}

// A click in the picture chooses the nearest lesion under it.
function pick(viewer, slot, x, y) {
  const panel = viewer.state.panels[slot.panel];
  let best = null;
  viewer.index.cases[viewer.state.number].findings.forEach((finding, position) => {
    if (finding.panel !== slot.panel || finding.row === null) return;
    const [left, top] = onScreen(slot, panel, viewer.state.look, finding.col + 0.5, finding.row + 0.5);
    const distance = Math.hypot(left - x, top - y);
    if (distance <= Math.max(finding.radius * viewer.state.look.zoom, 10) && (!best || distance < best.distance)) best = { distance, position };
  });
  if (best) viewer.openFinding(best.position, viewer.state.number, false);
}
