// State of the viewer and what can be done to it.

// Share of the pixels above the least value that lie under the upper limit of each preset; keys 1 to 4.
const PRESETS = [["standard", 0.995], ["faint", 0.98], ["bright", 0.999], ["full range", 1]];
const BLINKS = 5, BLINK_MS = 260;
// A lesion gone to fills about this share of the picture's shorter side.
const LESION_SHARE = 0.12;
const MOST_PX = 24; // screen px a pixel, at the closest

function makeViewer(root, index) {
  const find = (selector) => root.querySelector(selector);
  const canvas = find(".v-picture canvas");
  const table = { scope: "case", filter: "", sorted: null, descending: false, everything: false };
  const shown = new Set(index.layers.map((layer) => layer.key));
  const state = { number: -1, panels: [], slots: [], placed: [], look: null, range: null, selected: -1, ringOn: false };
  const options = { doubled: null, keepWindow: false, hidden: new Set() };
  let latest = 0, blinking = 0;

  const size = () => [canvas.clientWidth, canvas.clientHeight];
  const findings = () => index.cases[state.number].findings;

  function draw() {
    if (!state.panels.length) return;
    const [width, height] = size();
    const ratio = window.devicePixelRatio || 1;
    state.placed = drawAll(canvas, width, height, ratio, state.slots, state.panels, state.look, index.layers, findings());
    const chosen = findings()[state.selected];
    if (state.ringOn && chosen && chosen.row !== null) {
      const context = canvas.getContext("2d");
      for (const slot of state.placed.filter((slot) => slot.panel === chosen.panel)) {
        drawRing(context, slot, state.panels[slot.panel], state.look, chosen);
      }
    }
  }

  function layOut() {
    // One tall narrow picture leaves room for its twin without outlines: what is seen before what was drawn on it.
    const [width, height] = size();
    const [first] = state.panels;
    const narrow = state.panels.length === 1 && (first.width * first.spacing[1]) / (first.height * first.spacing[0]) < width / height / 1.8;
    const doubled = options.doubled ?? narrow;
    state.slots = state.panels.flatMap((_, panel) => [...(doubled ? [{ panel, outlined: false }] : []), { panel, outlined: true }]);
    find('[data-do="double"]').setAttribute("aria-pressed", String(doubled));
  }

  function setWindow(low, high) {
    if (!state.range) return;
    const least = state.range.whole ? 1 : (state.range.high - state.range.low) / 65535;
    low = Math.min(Math.max(low, state.range.low), state.range.high - least);
    high = Math.max(high, low + least);
    state.look.window = [low, high];
    state.panels.forEach((panel) => recolour(panel, state.look.window));
    showWindow(root, state.range, state.look.window);
    draw();
  }

  const preset = (i) => state.range && setWindow(state.range.low, state.range.limits[i]);

  function moveTo(look) {
    const first = state.panels[0];
    const fit = fitted(state.slots, state.panels, ...size());
    const zoom = Math.min(Math.max(look.zoom, fit.zoom / 2), Math.max(MOST_PX / first.spacing[0], fit.zoom));
    const rows = Math.max(...state.panels.map((panel) => panel.height * panel.spacing[0]));
    Object.assign(state.look, {
      zoom,
      row: Math.min(Math.max(look.row, 0), rows),
      cols: look.cols.map((col, i) => Math.min(Math.max(col, 0), state.panels[i].width * state.panels[i].spacing[1])),
    });
    draw();
  }

  const reset = () => moveTo(fitted(state.slots, state.panels, ...size()));

  function zoomBy(factor, slot = null, x = 0, y = 0) {
    const look = { zoom: state.look.zoom * factor, row: state.look.row, cols: [...state.look.cols] };
    if (slot) { // the point under the pointer stays there
      const dx = (x - slot.x - slot.width / 2) / state.look.zoom, dy = (y - slot.y - slot.height / 2) / state.look.zoom;
      look.row += dy * (1 - 1 / factor);
      look.cols[slot.panel] += dx * (1 - 1 / factor);
    }
    moveTo(look);
  }

  function showTable() {
    const parts = { head: find("thead tr"), body: find("tbody"), none: find(".v-none"), more: find(".v-more") };
    root.querySelectorAll("[data-scope]").forEach((tab) => tab.setAttribute("aria-selected", String(tab.dataset.scope === table.scope)));
    fillTable(parts, index, table, state.number, state.selected, ({ number, position }) => openFinding(position, number), (column) => {
      table.descending = table.sorted === column && !table.descending;
      table.sorted = column;
      showTable();
    });
  }

  async function openCase(number) {
    if (!(number >= 0 && number < index.cases.length)) return false;
    const turn = ++latest;
    const panels = await decodedPanels(number);
    if (turn !== latest) return false; // another case was asked for meanwhile
    const kept = options.keepWindow && state.look ? state.look.window : null;
    Object.assign(state, { number, panels, selected: -1, ringOn: false });
    state.range = distribution(panels, PRESETS.map(([, share]) => share));
    layOut();
    state.look = { ...fitted(state.slots, panels, ...size()), shown, window: [0, 1] };
    panels.forEach((panel) => recolour(panel, [0, 1]));
    if (kept) setWindow(...kept);
    else preset(0);
    const { name, note, warning } = index.cases[number];
    find(".v-name").textContent = name;
    find(".v-note").textContent = note;
    find(".v-case-warning").textContent = warning;
    find(".v-case-warning").hidden = !warning;
    find(".v-unit").textContent = panels[0].unit + (state.range && !state.range.exact ? " (in 65,535 steps)" : "");
    markCase(find(".v-cases ol"), number);
    showTable();
    draw();
    return true;
  }

  function blink() {
    clearInterval(blinking);
    let left = 2 * BLINKS;
    state.ringOn = true;
    blinking = setInterval(() => {
      state.ringOn = --left % 2 === 0; // ends lit: the chosen lesion keeps its ring
      if (!left) clearInterval(blinking);
      draw();
    }, BLINK_MS);
  }

  // Select finding `position` of a case, go there, blink. Without `move` the picture stays where it is.
  async function openFinding(position, number = state.number, move = true) {
    if (number !== state.number && !(await openCase(number))) return false;
    const finding = findings()[position];
    if (!finding) return false;
    state.selected = position;
    if (move && finding.row !== null) {
      const panel = state.panels[finding.panel];
      const [width, height] = [Math.min(...state.placed.map((slot) => slot.width)), size()[1]];
      const fit = fitted(state.slots, state.panels, ...size()).zoom;
      const close = (LESION_SHARE * Math.min(width, height)) / (2 * Math.max(finding.radius, 5));
      const cols = [...state.look.cols];
      cols[finding.panel] = (finding.col + 0.5) * panel.spacing[1];
      const zoom = state.look.zoom > 1.5 * fit ? state.look.zoom : Math.min(Math.max(close, 2.5 * fit), 6 * fit);
      moveTo({ zoom, row: (finding.row + 0.5) * panel.spacing[0], cols });
    }
    blink();
    showTable();
    draw();
    return true;
  }

  // Next (step 1) or previous lesion, in the order of this case's rows as the table shows them.
  function stepFinding(step) {
    const rows = orderedRows(index, { ...table, scope: "case" }, state.number).map(({ position }) => position);
    if (!rows.length) return Promise.resolve(false);
    const at = rows.indexOf(state.selected);
    return openFinding(rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : (at + step + rows.length) % rows.length]);
  }

  function setLayer(key, on) {
    if (on) shown.add(key);
    else shown.delete(key);
    root.querySelectorAll(".v-layers input").forEach((box) => (box.checked = shown.has(box.value)));
    draw();
  }

  // Hide all outlines, or bring back those that were hidden together.
  function toggleAll() {
    const keys = index.layers.map((layer) => layer.key);
    if (shown.size) {
      options.hidden = new Set(shown);
      keys.forEach((key) => setLayer(key, false));
    } else keys.forEach((key) => setLayer(key, options.hidden.size ? options.hidden.has(key) : true));
  }

  function relayOut() {
    if (!state.panels.length) return;
    const before = fitted(state.slots, state.panels, ...size()).zoom;
    const whole = Math.abs(state.look.zoom / before - 1) < 1e-6;
    layOut();
    if (whole) reset();
    else draw();
  }

  function toggleDouble() {
    options.doubled = !state.slots.some((slot) => !slot.outlined);
    layOut();
    reset();
  }

  function toggleFull() {
    root.classList.toggle("v-full");
    layOut();
    reset();
  }

  return {
    root, canvas, find, index, state, table, options, shown, size, draw, relayOut, setWindow, preset, moveTo, reset, zoomBy, showTable,
    openCase, openFinding, stepFinding, setLayer, toggleAll, toggleDouble, toggleFull,
  };
}
