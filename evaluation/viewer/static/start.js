// Starts the viewer and describes what a page or a test may ask of it.
//
// window.msaViewer:
//   ready                      promise: the first case is shown
//   printed                    promise: the pictures for paper are drawn
//   state()                    { case, number, cases, window: [low, high], zoom (screen px a mm), layers: [keys shown],
//                              centres: [{ row, col } in px, one a panel, pixel centres at integers], selected, slots, full }
//   openCase(number)           promise of true when that case is shown
//   openFinding(position, number)   goes to a finding of the case (default: the one shown)
//   setWindow(low, high)  setLayer(key, on)  zoomBy(factor)  reset()
//   valueAt(row, col, panel)   value of a pixel as unpacked, null outside

const PRINTED_PX = 620; // height of a picture on paper in CSS px, and its greatest width

// As wide as its panels at that height, so that whole-body views leave no margins.
function printedWidth(slots, panels) {
  const widths = slots.map(({ panel: i }) => (panels[i].width * panels[i].spacing[1]) / (panels[i].height * panels[i].spacing[0]));
  return Math.round(Math.min(PRINTED_PX, slots.length * (Math.max(...widths) * PRINTED_PX + 40)));
}

async function drawPrinted(viewer) {
  const { index } = viewer;
  const area = viewer.find(".v-printed");
  const legend = element("div", { className: "v-legend" });
  index.layers.forEach((layer) => legend.append(element("span", {}, swatch(layer), ` ${layer.label}`)));
  const count = Math.min(index.printed, index.cases.length);
  const order = index.order ? `, ${index.order}` : "";
  legend.append(element("span", {}, `${count} of ${index.cases.length} cases${order}; more counts are darker`));
  area.replaceChildren(legend);
  for (let number = 0; number < count; number++) {
    const panels = await decodedPanels(number);
    const { findings, name, note } = index.cases[number];
    const range = distribution(panels, [PRESETS[0][1]]);
    const limits = range ? [range.low, range.limits[0]] : [0, 1];
    panels.forEach((panel) => recolour(panel, limits));
    const twins = panels.length === 1 && panels[0].image ? [{ panel: 0, outlined: false }] : [];
    const slots = [...twins, ...panels.map((_, panel) => ({ panel, outlined: true }))];
    const width = printedWidth(slots, panels);
    const shown = new Set(index.layers.map(({ key }) => key));
    const look = { ...fitted(slots, panels, width, PRINTED_PX), window: limits, shown };
    if (number === 0) area.classList.toggle("v-narrow", width < 0.75 * PRINTED_PX);
    const canvas = element("canvas");
    drawAll(canvas, width, PRINTED_PX, 1.6, slots, panels, look, index.layers, findings);
    area.append(element("figure", {}, canvas, element("figcaption", {}, `${name}: ${note}`)));
  }
}

function start() {
  const root = document.getElementById("msa-viewer");
  const index = JSON.parse(document.getElementById("viewer-index").textContent);
  const problem = root.querySelector(".v-problem");
  const complain = (text) => Object.assign(problem, { textContent: text, hidden: false });
  if (!index.cases.length) return complain("No case to show.");
  if (typeof DecompressionStream === "undefined") {
    return complain("This browser is too old for the viewer: it needs Chromium or Edge 80, Firefox 113, Safari 16.4 or newer.");
  }
  root.querySelector(".v-body").hidden = false;
  root.querySelector(".v-order").textContent = index.order;
  const viewer = makeViewer(root, index);
  fillCaseList(root.querySelector(".v-cases ol"), index.cases, viewer.openCase);
  connectForms(viewer);
  connectKeys(viewer);
  connectMouse(viewer);
  new ResizeObserver(() => viewer.relayOut()).observe(viewer.canvas);
  const { state } = viewer;
  const ready = viewer.openCase(0).catch((error) => { complain(`The case cannot be shown (${error.message}).`); throw error; });
  window.msaViewer = {
    ready,
    printed: ready.then(() => drawPrinted(viewer)),
    state: () => ({
      case: index.cases[state.number].name,
      number: state.number,
      cases: index.cases.length,
      window: [...state.look.window],
      zoom: state.look.zoom,
      layers: index.layers.map(({ key }) => key).filter((key) => viewer.shown.has(key)),
      centres: state.panels.map((panel, i) => {
        const [row, col] = [state.look.row / panel.spacing[0], state.look.cols[i] / panel.spacing[1]];
        return { row: row - 0.5, col: col - 0.5 };
      }),
      selected: state.selected,
      slots: state.slots.map((slot) => ({ ...slot })),
      full: root.classList.contains("v-full"),
    }),
    openCase: viewer.openCase,
    openFinding: viewer.openFinding,
    setWindow: viewer.setWindow,
    setLayer: viewer.setLayer,
    zoomBy: (factor) => viewer.zoomBy(factor),
    reset: viewer.reset,
    valueAt: (row, col, panel = 0) => valueAt(state.panels[panel], row, col),
  };
  return undefined;
}
start();
