// The list of cases and the table of findings. Texts of the page's data only ever become text nodes.

const ROWS_AT_FIRST = 300;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// A layer's line and marker as a little picture, for legend and rows.
function swatch(layer) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 30 18");
  svg.setAttribute("aria-hidden", "true");
  const add = (name, attributes) => {
    const part = document.createElementNS(space, name);
    Object.entries({ fill: "none", stroke: layer.colour, ...attributes }).forEach(([key, value]) => part.setAttribute(key, value));
    svg.append(part);
  };
  const dash = layer.dash.join(" ") || "none";
  if (layer.marker === "none") add("path", { d: "M1 9H29", "stroke-width": layer.width, "stroke-dasharray": dash });
  else {
    add("path", { d: "M11 9a4 3 0 1 1 8 0a4 3 0 1 1 -8 0", "stroke-width": layer.width, "stroke-dasharray": dash });
    if (layer.marker === "ring") add("circle", { cx: 15, cy: 9, r: 8, "stroke-width": 1.4 });
    else add("rect", { x: 7, y: 1, width: 16, height: 16, "stroke-width": 1.4 });
  }
  return svg;
}

function fillCaseList(list, cases, open) {
  cases.forEach((one, number) => {
    const button = element("button", { type: "button", onclick: () => open(number) }, one.name, element("span", {}, one.note));
    if (one.warning) button.append(element("span", {}, `⚠ ${one.warning}`));
    list.append(element("li", {}, button));
  });
}

function markCase(list, number) {
  [...list.children].forEach((item, i) => item.firstChild.setAttribute("aria-current", String(i === number)));
  const current = list.children[number];
  // Only the list scrolls: scrollIntoView would move the page as well.
  if (current.offsetTop < list.scrollTop + list.offsetTop) list.scrollTop = current.offsetTop - list.offsetTop;
  const below = current.offsetTop + current.offsetHeight - list.offsetTop - list.clientHeight;
  if (below > list.scrollTop) list.scrollTop = below;
}

function cellText(value, digits) {
  if (value === null) return "–";
  return typeof value === "number" && digits !== null ? value.toFixed(digits) : String(value);
}

// Rows { number (of the case), position (of the finding in it), finding } in the order and selection of the table.
function orderedRows(index, table, number) {
  const numbers = table.scope === "case" ? [number] : index.cases.map((_, i) => i);
  let rows = numbers.flatMap((i) => index.cases[i].findings.map((finding, position) => ({ number: i, position, finding })));
  if (table.filter) rows = rows.filter(({ finding }) => finding.layer === table.filter);
  if (table.sorted === null) return rows;
  const key = ({ number: i, finding }) => (table.sorted < 0 ? index.cases[i].name : finding.cells[table.sorted]);
  const compare = (a, b) => {
    const [first, second] = [key(a), key(b)];
    if (first === null || second === null) return (first === null) - (second === null); // what is undefined stands last
    const order = typeof first === "number" && typeof second === "number" ? first - second : String(first).localeCompare(second);
    return table.descending ? -order : order;
  };
  return rows.sort(compare);
}

function fillTable(parts, index, table, number, selected, choose, sort) {
  const all = table.scope === "all";
  const heads = [...(all ? [{ label: "case", digits: null, hint: "" }] : []), ...index.columns];
  parts.head.replaceChildren(element("th"), ...heads.map((column, i) => {
    const at = all ? i - 1 : i;
    const arrow = table.sorted === at ? (table.descending ? " ▼" : " ▲") : "";
    const className = column.digits === null ? "" : "v-number";
    return element("th", { title: column.hint, className, onclick: () => sort(at) }, column.label + arrow);
  }));
  const rows = orderedRows(index, table, number);
  const shown = table.everything ? rows : rows.slice(0, ROWS_AT_FIRST);
  const layers = new Map(index.layers.map((layer) => [layer.key, layer]));
  parts.body.replaceChildren(...shown.map((row) => {
    const layer = layers.get(row.finding.layer);
    const cells = row.finding.cells.map((value, i) =>
      element("td", { className: index.columns[i].digits === null ? "" : "v-number" }, cellText(value, index.columns[i].digits)));
    const line = element("tr", { onclick: () => choose(row) }, element("td", {}, ...(layer ? [swatch(layer)] : [])));
    if (all) line.append(element("td", {}, index.cases[row.number].name));
    line.append(...cells);
    line.setAttribute("aria-selected", String(row.number === number && row.position === selected));
    line.dataset.finding = `${row.number}/${row.position}`;
    return line;
  }));
  parts.none.hidden = rows.length > 0;
  parts.more.hidden = shown.length === rows.length;
  parts.more.textContent = `show all ${rows.length} rows`;
  parts.body.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
}
