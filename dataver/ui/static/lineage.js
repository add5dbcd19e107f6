// The lineage: a click on a node previews it beside the drawing, a double click centres it. A large graph is drawn
// on a canvas, at the places that the server computed; while it moves, the last picture is moved.

let latest = 0;

/** Show what the page at this address says of a node, and keep the address. */
async function preview(address) {
  const mine = ++latest;
  const response = await fetch(address);
  if (!response.ok || mine !== latest) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (mine !== latest) return;
  document.getElementById("panel").replaceWith(page.getElementById("panel"));
  history.replaceState(null, "", address);
}

/** Go to another page; a preview that is still on its way does not change the address after that. */
function leave(address) {
  latest += 1;
  location.assign(address);
}

const drawing = document.querySelector(".graph");
drawing?.addEventListener("keydown", (event) => event.stopPropagation()); // arrow keys move the drawing, not the list

for (const node of document.querySelectorAll("a.node")) {
  node.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    document.querySelector(".node[aria-current]")?.removeAttribute("aria-current");
    node.setAttribute("aria-current", "true");
    preview(node.getAttribute("href"));
  });
  node.addEventListener("dblclick", () => leave(node.dataset.centre));
}
const start = document.querySelector(".node[aria-current] rect") ?? document.querySelector(".node.start rect");
const around = drawing?.querySelector(".wide");
const svg = around?.querySelector("svg.lineage");
if (svg) {
  // A drawing that is wider than its place is made smaller, to 68 % at most; beyond that it scrolls.
  const fit = () => {
    const { width, height } = svg.viewBox.baseVal;
    const shown = Math.min(width, Math.max(around.clientWidth - 16, width * 0.68));
    svg.setAttribute("width", shown);
    svg.setAttribute("height", (height * shown) / width);
    drawing.querySelector(".hint").hidden = around.scrollWidth <= around.clientWidth;
  };
  fit();
  addEventListener("resize", fit);
  for (const text of svg.querySelectorAll(".node text")) {
    const room = text.ownerSVGElement.width.baseVal.value;
    if (text.getComputedTextLength() <= room) continue;
    text.setAttribute("textLength", room);
    text.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
}
if (start && around) {
  const scale = svg.width.baseVal.value / svg.viewBox.baseVal.width;
  around.scrollLeft = (start.x.baseVal.value + start.width.baseVal.value / 2) * scale - around.clientWidth / 2;
  around.scrollTop = start.y.baseVal.value * scale - around.clientHeight / 2;
}

if (drawing?.dataset.graph) fetch(drawing.dataset.graph).then(async (response) => draw(await response.json()));

function draw(graph) {
  const { nodes, edges } = graph;
  const [width, height] = graph.node;
  const canvas = drawing.querySelector("canvas");
  const picture = document.createElement("canvas"); // the drawing with a margin around what is seen
  const ratio = Math.min(devicePixelRatio, 2);
  const shown = { x: 0, y: 0, scale: 1 }; // left upper corner in the graph, pixels for its unit
  let drawn; // the same of `picture`
  let waiting;
  let chosen = nodes.find((node) => node.id === new URLSearchParams(location.search).get("at"));

  function colours() {
    const mark = document.createElement("span");
    drawing.append(mark);
    const found = {};
    for (const name of ["of-version", "of-run", "tainted", "mended", "text", "quiet", "card"]) {
      mark.className = `dot ${name}`;
      found[name] = getComputedStyle(mark).backgroundColor;
    }
    mark.remove();
    return { ...found, perhaps: found.tainted };
  }

  /** Draw the picture of what is seen and half a window around it. */
  function paint() {
    const colour = colours();
    picture.width = canvas.width * 2;
    picture.height = canvas.height * 2;
    drawn = { ...shown };
    drawn.x -= canvas.width / 2 / shown.scale;
    drawn.y -= canvas.height / 2 / shown.scale;
    const right = drawn.x + picture.width / shown.scale;
    const below = drawn.y + picture.height / shown.scale;
    const near = shown.scale > 0.35 * ratio;
    const seen = ({ x, y }) => x < right && x + width > drawn.x && y < below && y + height > drawn.y;
    const context = picture.getContext("2d", { alpha: false });
    context.fillStyle = colour.card;
    context.fillRect(0, 0, picture.width, picture.height);
    context.setTransform(shown.scale, 0, 0, shown.scale, -drawn.x * shown.scale, -drawn.y * shown.scale);
    context.strokeStyle = colour.quiet;
    context.globalAlpha = near ? 0.5 : 0.25;
    context.lineWidth = ratio / shown.scale;
    context.beginPath();
    for (const [first, second] of edges) {
      const [one, other] = [nodes[first], nodes[second]];
      const [left, top, end, bottom] = [one.x + width, one.y + height / 2, other.x, other.y + height / 2];
      if (Math.min(left, end) > right || Math.max(left, end) < drawn.x) continue;
      if (Math.min(top, bottom) > below || Math.max(top, bottom) < drawn.y) continue;
      context.moveTo(left, top);
      if (near) context.bezierCurveTo(left + 30, top, end - 30, bottom, end, bottom);
      else context.lineTo(end, bottom);
    }
    context.stroke();
    context.globalAlpha = 1;
    for (const node of nodes) {
      if (!seen(node)) continue;
      context.fillStyle = near ? colour.card : colour[node.mark || `of-${node.kind}`];
      context.fillRect(node.x, node.y, width, height);
      if (near) {
        context.strokeStyle = colour[node.mark || `of-${node.kind}`];
        context.lineWidth = node.id === graph.start || node.mark ? 3 : 1;
        context.strokeRect(node.x, node.y, width, height);
        context.fillStyle = colour.text;
        context.font = "13px system-ui, sans-serif";
        context.fillText(node.title, node.x + 12, node.y + 19, width - 20);
        context.fillStyle = colour.quiet;
        context.font = "11px system-ui, sans-serif";
        context.fillText(node.text, node.x + 12, node.y + 34, width - 20);
      }
    }
  }

  /** Move the picture to where it is seen; paint again at rest, or when its margin is used up. */
  function show() {
    const scale = shown.scale / (drawn?.scale ?? NaN);
    const [x, y] = [(drawn?.x - shown.x) * shown.scale, (drawn?.y - shown.y) * shown.scale];
    const covers = x <= 0 && y <= 0 && x + picture.width * scale >= canvas.width && y + picture.height * scale >= canvas.height;
    if (!covers) {
      paint();
      return show();
    }
    const context = canvas.getContext("2d", { alpha: false });
    context.drawImage(picture, x, y, picture.width * scale, picture.height * scale);
    if (chosen) {
      const size = Math.max(shown.scale, 0.1);
      context.lineWidth = 3 * ratio;
      context.strokeStyle = getComputedStyle(document.querySelector("a")).color;
      context.strokeRect((chosen.x - shown.x) * shown.scale, (chosen.y - shown.y) * shown.scale, width * size, height * size);
    }
    clearTimeout(waiting);
    if (scale !== 1 || Math.max(Math.abs(x + canvas.width / 2), Math.abs(y + canvas.height / 2)) > canvas.width / 8)
      waiting = setTimeout(() => { paint(); show(); }, 150);
  }

  function move(x, y) {
    shown.x += x / shown.scale;
    shown.y += y / shown.scale;
    show();
  }

  /** Change the size around a point of the canvas; 0 shows all. */
  function zoom(by, x = canvas.width / 2, y = canvas.height / 2) {
    const all = Math.min(canvas.width / (graph.width + 80), canvas.height / (graph.height + 80), ratio);
    const scale = by ? Math.min(Math.max(shown.scale * by, all / 2), 2 * ratio) : all;
    shown.x = by ? shown.x + x / shown.scale - x / scale : (graph.width - canvas.width / all) / 2;
    shown.y = by ? shown.y + y / shown.scale - y / scale : (graph.height - canvas.height / all) / 2;
    shown.scale = scale;
    show();
  }

  const place = (event) => [event.offsetX * ratio, event.offsetY * ratio];

  function at(event) {
    const [x, y] = place(event).map((value, axis) => value / shown.scale + [shown.x, shown.y][axis]);
    return nodes.find((node) => x >= node.x && x <= node.x + width && y >= node.y && y <= node.y + height);
  }

  function link(node, centre) {
    const [path, query] = drawing.dataset.page.split("?");
    const words = new URLSearchParams(query);
    words.delete("page");
    if (centre && node.key) {
      for (const name of ["ref", "run", "all", "out"]) words.delete(name);
      words.set(node.kind === "version" ? "ref" : "run", node.key);
    } else words.set("at", node.id);
    return `${path}?${words}`;
  }

  let from;
  let clicked; // the node of the last click: a double click has a less precise place
  canvas.addEventListener("pointerdown", (event) => {
    from = { x: event.clientX, y: event.clientY, moved: 0 };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from) {
      const node = at(event);
      canvas.style.cursor = node ? "pointer" : "";
      canvas.title = node ? `${node.title}\n${node.text}` : "";
      return;
    }
    const [x, y] = [from.x - event.clientX, from.y - event.clientY];
    from = { x: event.clientX, y: event.clientY, moved: from.moved + Math.abs(x) + Math.abs(y) };
    if (x || y) move(x * ratio, y * ratio);
  });
  canvas.addEventListener("pointerup", (event) => {
    clicked = from?.moved < 5 ? at(event) : undefined;
    from = undefined;
    if (!clicked) return;
    chosen = clicked;
    show();
    preview(link(clicked));
  });
  canvas.addEventListener("dblclick", () => {
    if (clicked) leave(link(clicked, true));
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), ...place(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-60, 0], ArrowRight: [60, 0], ArrowUp: [0, -60], ArrowDown: [0, 60] }[event.key];
    const by = { "+": 1.4, "-": 0.7, 0: 0 }[event.key];
    if (step) move(...step);
    else if (by !== undefined) zoom(by);
    else return;
    event.preventDefault();
  });
  for (const button of drawing.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  new ResizeObserver(() => {
    if (canvas.width === canvas.clientWidth * ratio && canvas.height === canvas.clientHeight * ratio) return;
    fit();
  }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { paint(); show(); });

  function fit() {
    canvas.width = canvas.clientWidth * ratio;
    canvas.height = canvas.clientHeight * ratio;
    drawn = undefined;
    zoom(0);
    const start = nodes.find((node) => node.id === graph.start);
    if (!start && shown.scale * graph.height < 100 && shown.scale < 0.2) {
      // a long chain: its beginning, as large as its height permits
      shown.scale = Math.min(0.7 * ratio, canvas.height / (graph.height + 80));
      shown.x = -40;
      shown.y = (graph.height - canvas.height / shown.scale) / 2;
      show();
    }
    if (start && shown.scale < 0.4) {
      shown.scale = 0.7 * ratio;
      shown.x = start.x + width / 2 - canvas.width / 2 / shown.scale;
      shown.y = start.y + height / 2 - canvas.height / 2 / shown.scale;
      show();
    }
  }

  fit();
  requestAnimationFrame(() => performance.mark("lineage"));
}
