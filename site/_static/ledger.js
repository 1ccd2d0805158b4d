// The table of all runs: a search field, a filter for each column of few values, and sorting by a click on a heading.
const table = document.getElementById("ledger");
const rows = [...table.tBodies[0].rows];
const headings = [...table.tHead.rows[0].cells];
const MOST = 25; // values of a column with a filter

const controls = document.createElement("div");
controls.className = "ledger-controls";
const status = document.createElement("p");
status.setAttribute("role", "status");
table.parentElement.prepend(controls, status);

function labelled(text, control) {
  const label = document.createElement("label");
  label.append(text, " ", control);
  controls.append(label);
  return control;
}

const search = labelled("search", Object.assign(document.createElement("input"), { type: "search" }));
const filters = headings.map((heading, column) => {
  const values = [...new Set(rows.map((row) => row.cells[column].textContent))].sort();
  if (values.length < 2 || values.length > MOST) return null;
  const select = labelled(heading.textContent, document.createElement("select"));
  select.append(new Option("all", ""), ...values.map((value) => new Option(value, `=${value}`)));
  return select;
});

function filter() {
  const words = search.value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    const fits = filters.every((select, column) => !select?.value || select.value === `=${row.cells[column].textContent}`);
    row.hidden = !(fits && words.every((word) => text.includes(word)));
    shown += !row.hidden;
  }
  status.textContent = `${shown} of ${rows.length} runs`;
}

function sort(column) {
  const down = headings[column].getAttribute("aria-sort") === "ascending";
  for (const heading of headings) heading.removeAttribute("aria-sort");
  headings[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[column].textContent;
  const number = (text) => (text === "" ? Infinity : Number(text));
  const numeric = rows.every((row) => !Number.isNaN(number(value(row))));
  rows.sort((a, b) => (numeric ? number(value(a)) - number(value(b)) || 0 : value(a).localeCompare(value(b))));
  if (down) rows.reverse();
  table.tBodies[0].append(...rows);
}

headings.forEach((heading, column) => {
  const button = document.createElement("button");
  button.textContent = heading.textContent;
  button.onclick = () => sort(column);
  heading.replaceChildren(button);
});
controls.addEventListener("input", filter);
filter();
