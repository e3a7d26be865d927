// One page of a table, for anywidget.
function render({ model, el }) {
  const root = document.createElement("div"); root.className = "eg-table"; el.append(root);
  function draw() {
    const focused = root.contains(document.activeElement) && document.activeElement.tagName === "TR";
    const table = document.createElement("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    const caption = model.get("caption"), selected = model.get("selected"), [by, down] = model.get("sort");
    if (caption) { const c = table.createCaption(); c.textContent = caption; }
    const columns = model.get("columns"), keys = model.get("numbers"), group = document.createElement("colgroup");
    for (const column of columns) { const col = document.createElement("col"); if (column.width) col.style.width = column.width; group.append(col); }
    table.prepend(group); if (caption) table.prepend(table.caption);
    for (const column of columns) {
      const th = document.createElement("th"); th.scope = "col"; th.className = column.number ? "eg-number" : "";
      if (column.sortable) {
        const button = document.createElement("button");
        button.textContent = column.title + (by === column.name ? (down ? " ▾" : " ▴") : "");
        button.title = (column.help ? column.help + " " : "") + "Click to sort by it."; button.onclick = () => model.send({ event: "sort", column: column.name });
        if (by === column.name) th.setAttribute("aria-sort", down ? "descending" : "ascending");
        th.append(button);
      } else { th.textContent = column.title; if (column.help) th.title = column.help; }
      head.append(th);
    }
    let current = null;
    model.get("rows").forEach((row, at) => {
      const tr = body.insertRow(); tr.dataset.row = keys[at]; tr.tabIndex = -1;
      row.forEach((cell, c) => {
        const td = tr.insertCell();
        if (columns[c].html) { td.innerHTML = cell; if (td.textContent.length > 12) td.title = td.textContent; }
        else { td.textContent = cell; if (cell.length > 6) td.title = cell; }
        if (columns[c].number) td.className = "eg-number";
      });
      if (keys[at] === selected) { tr.setAttribute("aria-selected", "true"); current = tr; }
      tr.onclick = () => model.send({ event: "pick", row: keys[at] });
      tr.onkeydown = event => {
        const next = { ArrowDown: tr.nextSibling, ArrowUp: tr.previousSibling }[event.key];
        if (next) { next.focus(); model.send({ event: "pick", row: Number(next.dataset.row) }); }
        else if (event.key === "Enter" || event.key === " ") model.send({ event: "pick", row: keys[at] });
        else return;
        event.preventDefault(); event.stopPropagation();
      };
    });
    const first = current || body.rows[0];
    if (first) first.tabIndex = 0;
    if (!body.rows.length) { const td = body.insertRow().insertCell(); td.colSpan = columns.length; td.className = "eg-none"; td.textContent = model.get("empty"); }
    root.replaceChildren(table);
    if (focused && first) first.focus({ preventScroll: true });
  }
  model.on("change:version", draw); model.on("change:selected", draw);
  draw();
}
export default { render };
