"use strict";
// Without a script the tables stand as they are; with one their heads become buttons.
for (const hint of document.querySelectorAll(".script-only")) hint.hidden = false;

function keyOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function compare(one, other) {
  const [a, b] = [Number(one), Number(other)];
  return Number.isNaN(a) || Number.isNaN(b)
    ? one.localeCompare(other, undefined, { numeric: true })
    : a - b;
}

function isUndefined(key) {
  return key === "\u2013";
}

function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const isRising = heads[column].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.setAttribute("aria-sort", "none"));
  heads[column].setAttribute("aria-sort", isRising ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row, column), row]);
  rows.sort(([a], [b]) => {
    // What is not defined stays at the end, both ways.
    if (isUndefined(a) || isUndefined(b)) return isUndefined(a) - isUndefined(b);
    return isRising ? compare(a, b) : compare(b, a);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
  const order = isRising ? "lowest first" : "highest first";
  document.getElementById("sorted").textContent = `Sorted by ${heads[column].textContent}, ${order}`;
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(table, column));
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
  });
}

document.getElementById("classes").addEventListener("change", (event) => {
  for (const row of document.querySelectorAll("table[data-sortable] tbody tr")) {
    row.hidden = event.target.value !== "" && row.dataset.kind !== event.target.value;
  }
});
