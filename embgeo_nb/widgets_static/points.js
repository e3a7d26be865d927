// Points that can be clicked: scatters and maps, for anywidget.
const GLYPHS = [["●", "○"], ["■", "□"], ["▲", "△"], ["◆", "◇"], ["▼", "▽"], ["✚", "✛"], ["✖", "✕"]];
// Colours of a palette made for paper, on a dark ground: what is nearly black becomes nearly white, the rest lighter.
function light(color) {
  const [r, g, b] = (color.length === 4 ? [1, 2, 3].map(i => parseInt(color[i] + color[i], 16)) : [1, 3, 5].map(i => parseInt(color.slice(i, i + 2), 16)));
  return (.2126 * r + .7152 * g + .0722 * b) / 255;
}
function onDark(color) {
  const share = light(color) < .12 ? .9 : light(color) < .35 ? .35 : 0;
  if (!share) return color;
  const parts = color.length === 4 ? [1, 2, 3].map(i => parseInt(color[i] + color[i], 16)) : [1, 3, 5].map(i => parseInt(color.slice(i, i + 2), 16));
  return "#" + parts.map(part => Math.round(part + (255 - part) * share).toString(16).padStart(2, "0")).join("");
}
// Whether a ground, as getComputedStyle gives it, is dark.
function isDark(ground) {
  const found = (ground.match(/[\d.]+/g) || []).map(Number);
  return found.length >= 3 && found[3] !== 0 && (.2126 * found[0] + .7152 * found[1] + .0722 * found[2]) < 110;
}
function bytes(view) { return new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer; }
function path(c, kind, x, y, r) {
  c.beginPath();
  if (kind === 0) c.arc(x, y, r, 0, 6.2832);
  else if (kind === 1) c.rect(x - r * .9, y - r * .9, r * 1.8, r * 1.8);
  else if (kind === 2) { c.moveTo(x, y - r * 1.2); c.lineTo(x + r * 1.1, y + r * .8); c.lineTo(x - r * 1.1, y + r * .8); c.closePath(); }
  else if (kind === 3) { c.moveTo(x, y - r * 1.3); c.lineTo(x + r, y); c.lineTo(x, y + r * 1.3); c.lineTo(x - r, y); c.closePath(); }
  else if (kind === 4) { c.moveTo(x, y + r * 1.2); c.lineTo(x + r * 1.1, y - r * .8); c.lineTo(x - r * 1.1, y - r * .8); c.closePath(); }
  else {
    const s = kind === 5 ? [1, 0, 0, 1] : [.75, .75, -.75, .75];
    c.moveTo(x - r * 1.2 * s[0], y - r * 1.2 * s[1]); c.lineTo(x + r * 1.2 * s[0], y + r * 1.2 * s[1]);
    c.moveTo(x - r * 1.2 * s[2], y - r * 1.2 * s[3]); c.lineTo(x + r * 1.2 * s[2], y + r * 1.2 * s[3]);
  }
}
function render({ model, el }) {
  const root = document.createElement("div"); root.className = "eg-points";
  const frame = document.createElement("div"); frame.className = "eg-frame";
  const canvas = document.createElement("canvas"); canvas.tabIndex = 0; canvas.setAttribute("role", "img");
  const tip = document.createElement("div"); tip.className = "eg-tip"; tip.hidden = true;
  const bar = document.createElement("div"); bar.className = "eg-zoom";
  const legend = document.createElement("div"); legend.className = "eg-legend";
  const below = document.createElement("div"); below.className = "eg-below"; below.append(legend, bar);
  frame.append(canvas, tip); root.append(frame, below); el.append(root);
  let xy, look, rows, names, faded, zoom = 1, shift = [0, 0], drag = null, width = 300, height = 300, dark = false, lasso = false, loop = [];
  const ink = color => dark ? onDark(color) : color, ground = () => dark ? "#111111" : "#ffffff";

  function load() {
    xy = new Float32Array(bytes(model.get("points"))); look = new Uint8Array(bytes(model.get("look")));
    rows = new Int32Array(bytes(model.get("rows"))); names = model.get("names"); faded = new Uint8Array(bytes(model.get("faded")));
    canvas.setAttribute("aria-label", model.get("alt"));
    legend.replaceChildren();
    for (const entry of model.get("legend")) {
      const item = document.createElement(entry.key === undefined ? "span" : "button"), glyph = document.createElement("span");
      glyph.textContent = entry.line ? (entry.dash ? "┄┄ " : "── ") : GLYPHS[entry.marker || 0][entry.hollow ? 1 : 0] + " ";
      glyph.style.color = ink(entry.color); glyph.className = "eg-glyph"; glyph.setAttribute("aria-hidden", "true");
      item.append(glyph, document.createTextNode(entry.name)); legend.append(item);
      if (entry.key === undefined) continue;
      item.title = entry.title || ""; item.setAttribute("aria-pressed", String(entry.key === model.get("pressed")));
      item.onclick = () => model.send({ event: "legend", key: entry.key });
    }
    draw();
  }
  function recolor() {
    const now = isDark(getComputedStyle(frame).backgroundColor);
    if (now === dark) return;
    dark = now; root.classList.toggle("eg-dark", dark); load();
  }
  function scale() {
    let x0 = Infinity, x1 = -Infinity, y0 = Infinity, y1 = -Infinity;
    for (let i = 0; i < xy.length; i += 2) {
      x0 = Math.min(x0, xy[i]); x1 = Math.max(x1, xy[i]); y0 = Math.min(y0, xy[i + 1]); y1 = Math.max(y1, xy[i + 1]);
    }
    const left = 26, low = 26, edge = 16, w = Math.max(width - left - edge, 20), h = Math.max(height - low - edge, 20);
    const unit = Math.min(w / (x1 - x0 || 1), h / (y1 - y0 || 1)) * .94 * zoom;
    const cx = left + w / 2 + shift[0], cy = edge + h / 2 + shift[1];
    const to = (x, y) => [cx + (x - (x0 + x1) / 2) * unit, cy - (y - (y0 + y1) / 2) * unit];
    to.inverse = (px, py) => [(px - cx) / unit + (x0 + x1) / 2, (cy - py) / unit + (y0 + y1) / 2];
    return to;
  }
  function draw() {
    if (!xy) return;
    const ratio = window.devicePixelRatio || 1, c = canvas.getContext("2d"), at = scale(), palette = model.get("palette");
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = ground(); c.fillRect(0, 0, width, height);
    const over = model.get("overlay") || {}, busy = (over.lines || []).length > 0;
    c.globalAlpha = rows.length > 60 ? (busy ? .45 : .75) : 1;
    const strength = c.globalAlpha, some = faded.length === rows.length;
    for (const pass of some ? [1, 0] : [0]) {                    // what is faded lies below
      c.globalAlpha = pass ? .1 : strength;
      for (let i = 0; i < rows.length; i++) {
        if (some && faded[i] !== pass) continue;
        const [x, y] = at(xy[2 * i], xy[2 * i + 1]), [color, kind, size, filled] = look.subarray(4 * i, 4 * i + 4);
        path(c, kind, x, y, size / 10);
        if (filled && kind < 5) { c.fillStyle = ink(palette[color]); c.fill(); }
        else { c.strokeStyle = ink(palette[color]); c.lineWidth = kind < 5 ? 1 : (filled ? 2.2 : 1); c.stroke(); }
      }
    }
    c.globalAlpha = 1;
    for (const e of over.ellipses || []) {
      const [x, y] = at(e.x, e.y), [ex, ey] = at(e.x + 1, e.y), unit = Math.hypot(ex - x, ey - y);
      c.beginPath(); c.ellipse(x, y, e.a * unit, e.b * unit, -e.angle, 0, 6.2832); c.strokeStyle = ink(e.color); c.lineWidth = 1; c.stroke();
    }
    for (const line of over.lines || []) {
      const a = at(line.x0, line.y0), b = at(line.x1, line.y1);
      c.beginPath(); c.setLineDash(line.dash ? [4, 3] : []); c.moveTo(...a); c.lineTo(...b);
      c.strokeStyle = ink(line.color); c.lineWidth = line.width || 1; c.stroke(); c.setLineDash([]);
      if (line.arrow && Math.hypot(b[0] - a[0], b[1] - a[1]) > 3) {
        const t = Math.atan2(b[1] - a[1], b[0] - a[0]);
        c.beginPath(); c.moveTo(...b);
        for (const s of [2.7, -2.7]) c.lineTo(b[0] + 10 * Math.cos(t + s), b[1] + 10 * Math.sin(t + s));
        c.closePath(); c.fillStyle = ink(line.color); c.fill();
      }
    }
    for (const dot of over.dots || []) {
      const [x, y] = at(dot.x, dot.y);
      path(c, dot.marker || 0, x, y, dot.size || 4);
      if (dot.filled) { c.fillStyle = ink(dot.color); c.fill(); c.strokeStyle = ground(); c.lineWidth = .6; c.stroke(); }
      else { c.strokeStyle = ink(dot.color); c.lineWidth = 1.8; c.stroke(); }
    }
    c.font = "12px system-ui, sans-serif"; c.textBaseline = "middle";
    const taken = [];
    for (const label of over.labels || []) {
      const [x, y] = at(label.x, label.y), w = c.measureText(label.text).width;
      for (const [dx, dy] of [[9, 0], [-w - 9, 0], [-w / 2, -13], [-w / 2, 14], [9, -12], [9, 13], [-w - 9, -12], [-w - 9, 13]]) {
        const box = [x + dx - 2, y + dy - 7, x + dx + w + 2, y + dy + 7];
        const free = box[0] > 2 && box[2] < width - 2 && taken.every(b => b[2] < box[0] || b[0] > box[2] || b[3] < box[1] || b[1] > box[3]);
        if (!free) continue;
        taken.push(box);
        c.lineWidth = 3; c.strokeStyle = ground(); c.strokeText(label.text, x + dx, y + dy);
        c.fillStyle = ink("#111111"); c.fillText(label.text, x + dx, y + dy);
        break;
      }
    }
    if (loop.length > 1) {
      c.beginPath(); c.moveTo(...loop[0]); for (const point of loop) c.lineTo(...point); c.closePath();
      c.fillStyle = "rgba(86, 180, 233, .18)"; c.fill(); c.strokeStyle = "#56B4E9"; c.lineWidth = 1.5; c.stroke();
    }
    const [across, up] = model.get("axes");
    c.fillStyle = dark ? "#ccc" : "#333"; c.font = "11px system-ui, sans-serif"; c.textBaseline = "alphabetic";
    c.fillText(across, Math.max(8, (width - c.measureText(across).width) / 2), height - 7);
    c.save(); c.translate(14, height / 2 + c.measureText(up).width / 2); c.rotate(-Math.PI / 2); c.fillText(up, 0, 0); c.restore();
  }
  function nearest(x, y, reach) {
    const at = scale(); let best = -1, least = reach * reach;
    for (let i = 0; i < rows.length; i++) {
      if (faded.length === rows.length && faded[i]) continue;
      const [px, py] = at(xy[2 * i], xy[2 * i + 1]), d = (px - x) ** 2 + (py - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    return best;
  }
  function pick(i) { if (i >= 0) model.send({ event: "pick", row: rows[i] }); }
  function zoomBy(factor, x = null, y = null) {                // about a place on the screen, or the middle
    if (factor === 0) { zoom = 1; shift = [0, 0]; draw(); return; }
    const now = Math.min(Math.max(zoom * factor, .2), 400) / zoom, before = scale().inverse(x, y);
    zoom *= now; shift = [shift[0] * now, shift[1] * now];
    if (x !== null) { const [px, py] = scale()(...before); shift = [shift[0] + x - px, shift[1] + y - py]; }
    draw();
  }
  function drawLasso(on) { lasso = on; lassoButton.setAttribute("aria-pressed", String(on)); canvas.style.cursor = on ? "crosshair" : "default"; }
  for (const [text, factor, title] of [["+", 1.5, "Zoom in; key +."], ["−", 1 / 1.5, "Zoom out; key −."], ["⟲", 0, "Show all points; key 0."]]) {
    const button = document.createElement("button");
    button.textContent = text; button.title = title; button.setAttribute("aria-label", title);
    button.onclick = () => zoomBy(factor); bar.append(button);
  }
  const lassoButton = document.createElement("button");
  lassoButton.textContent = "◌"; lassoButton.title = "Draw around points, to list them alone; key L, or hold Shift. A click on nothing ends it.";
  lassoButton.setAttribute("aria-label", "Draw around points"); lassoButton.setAttribute("aria-pressed", "false");
  lassoButton.onclick = () => drawLasso(!lasso); lassoButton.hidden = !model.get("lasso"); bar.append(lassoButton);
  canvas.addEventListener("wheel", event => {                 // a page scrolls over it until it was clicked
    if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault(); zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? .05 : .0015)), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("pointerdown", event => {
    drag = { x: event.offsetX, y: event.offsetY, shift: [...shift], moved: false, lasso: model.get("lasso") && (lasso || event.shiftKey) };
    loop = drag.lasso ? [[event.offsetX, event.offsetY]] : [];
    if (canvas.setPointerCapture && event.isTrusted) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", event => {
    if (drag && event.buttons) {
      const dx = event.offsetX - drag.x, dy = event.offsetY - drag.y;
      drag.moved = drag.moved || Math.hypot(dx, dy) > 4;
      if (drag.lasso) { loop.push([event.offsetX, event.offsetY]); draw(); }
      else if (drag.moved) { shift = [drag.shift[0] + dx, drag.shift[1] + dy]; draw(); }
      return;
    }
    const i = nearest(event.offsetX, event.offsetY, 10);
    tip.hidden = i < 0; canvas.style.cursor = lasso ? "crosshair" : i < 0 ? "default" : "pointer";
    if (i >= 0) {
      tip.textContent = names[Math.floor(i * names.length / rows.length)];
      tip.style.left = Math.max(0, Math.min(event.offsetX + 12, width - tip.offsetWidth - 4)) + "px"; tip.style.top = event.offsetY + 14 + "px";
    }
  });
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("pointercancel", () => { drag = null; loop = []; draw(); });
  canvas.addEventListener("pointerup", event => {
    if (drag && drag.lasso && loop.length > 2 && drag.moved) {
      const at = scale(), step = Math.max(1, Math.ceil(loop.length / 200));
      model.send({ event: "lasso", loop: loop.filter((_, i) => i % step === 0).map(([x, y]) => at.inverse(x, y)) });
      drawLasso(false);
    } else if (drag && !drag.moved) {
      const i = nearest(event.offsetX, event.offsetY, 14);
      if (i < 0 && faded.length === rows.length) model.send({ event: "lasso", loop: [] });
      pick(i);
    }
    drag = null; loop = []; draw();
  });
  canvas.addEventListener("keydown", event => {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (way && rows.length) {
      const at = scale(), here = rows.indexOf(model.get("selected")), [x, y] = here < 0 ? [width / 2, height / 2] : at(xy[2 * here], xy[2 * here + 1]);
      let best = -1, least = Infinity;
      for (let i = 0; i < rows.length; i++) {
        const [px, py] = at(xy[2 * i], xy[2 * i + 1]), along = (px - x) * way[0] + (py - y) * way[1], off = Math.abs((px - x) * way[1] - (py - y) * way[0]);
        const cost = along + 2 * off;
        if (rows[i] !== model.get("selected") && along > .5 && along >= off && cost < least) { least = cost; best = i; }
      }
      pick(best);
    } else if (event.key === "+" || event.key === "=") zoomBy(1.5);
    else if (event.key === "-") zoomBy(1 / 1.5);
    else if (event.key === "0") zoomBy(0);
    else if ((event.key === "l" || event.key === "L") && model.get("lasso")) drawLasso(!lasso);
    else if (event.key === "Escape") { drawLasso(false); model.send({ event: "lasso", loop: [] }); }
    else return;
    event.preventDefault(); event.stopPropagation();
  });
  canvas.locate = row => { const i = rows.indexOf(row); return i < 0 ? null : scale()(xy[2 * i], xy[2 * i + 1]); };
  const observer = new ResizeObserver(() => { width = frame.clientWidth || width; height = frame.clientHeight || height; draw(); });
  observer.observe(frame);
  const themes = new MutationObserver(recolor), mode = window.matchMedia ? window.matchMedia("(prefers-color-scheme: dark)") : null;
  for (const node of [document.documentElement, document.body]) themes.observe(node, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light", "data-theme", "data-vscode-theme-kind"] });
  if (mode) mode.addEventListener("change", recolor);
  model.on("change:look", load); model.on("change:points", load); model.on("change:alt", load); model.on("change:legend", load); model.on("change:names", load);
  model.on("change:faded", () => { faded = new Uint8Array(bytes(model.get("faded"))); draw(); });
  model.on("change:overlay", draw); model.on("change:pressed", load);
  load(); recolor();
  const later = setTimeout(recolor, 300);                      // a style sheet may arrive after the view
  return () => { observer.disconnect(); themes.disconnect(); clearTimeout(later); if (mode) mode.removeEventListener("change", recolor); };
}
export { isDark, onDark };
export default { render };
