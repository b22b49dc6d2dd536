// A figure's rows as a table. Long ones are cut: the CSV has them all.
import { el } from './dom.js';
import { columnsOf, digitsOf, indexOf, isNumeric } from './format.js';

const ROWS = 100, LONG = 60, FEW = 14;

function scroll(table, label) {
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, table);
}

function cell(row, column, format, unit) {
  const text = format.value(row[column.i], column, unit);
  const withheld = column.type === 'port' && row[column.i] === null;
  const long = column.type === 'reason' || text.length > LONG;
  return el('td', { class: isNumeric(column) ? 'number' : withheld ? 'withheld' : long ? 'long' : column.type === 'date' || column.type === 'port' ? 'short' : null }, text);
}

function plain(figure, rows, format, label) {
  // what is the same in all rows and said above the table is left out of it, and what no row has a word for
  const said = [figure.view.verdict, figure.view.reason, figure.view.all], silent = (c) => c.type === 'text' && rows.every((r) => r[c.i] === null || r[c.i] === '');
  const columns = columnsOf(figure, format.lang).filter((c, i) => !said.includes(c.key) && (i === 0 || !silent(c)));
  const most = Math.min(ROWS, figure.view.rows ?? ROWS);
  for (const c of columns) c.digits = digitsOf(rows.slice(0, most), c);
  const kind = [columns.length > 8 && 'dense', Math.min(most, rows.length) <= FEW && 'few'].filter(Boolean).join(' ');
  const table = el('table', { class: kind || null },
    el('thead', {}, el('tr', {}, columns.map((c) => el('th', { scope: 'col', class: isNumeric(c) ? 'number' : null }, format.text(c))))),
    el('tbody', {}, rows.slice(0, most).map((row) => el('tr', {}, columns.map((c, i) => {
      if (i > 0 || isNumeric(c)) return cell(row, c, format, figure.unit);
      const text = format.value(row[c.i], c, figure.unit);
      return el('th', { scope: 'row', class: text.length > LONG ? 'long' : null }, text);
    })))));
  return [scroll(table, label), rows.length > most && el('p', { class: 'cut' }, format.t.cutTable(most, rows.length))];
}

// Sensors down, ranks across.
function pivot(figure, format, label) {
  const y = indexOf(figure, figure.view.y, format.lang), x = indexOf(figure, figure.view.x), v = indexOf(figure, figure.view.value);
  const country = indexOf(figure, 'country');
  const lines = new Map();
  for (const row of figure.rows) {
    const key = JSON.stringify([row[y], row[country]]);
    if (!lines.has(key)) lines.set(key, { row, cells: [] });
    lines.get(key).cells[row[x] - 1] = row;
  }
  const wide = Math.max(...figure.rows.map((r) => r[x]));
  const ranks = Array.from({ length: wide }, (_, i) => i);
  const shown = [...lines.values()].slice(0, ROWS);
  const ordinal = (n) => (format.lang === 'ja' ? `${n}番目` : String(n));
  const table = el('table', { class: shown.length <= FEW ? 'dense few' : 'dense' },
    el('thead', {}, el('tr', {},
      el('th', { scope: 'col' }, format.text(figure.columns[y])),
      country >= 0 && el('th', { scope: 'col' }, format.text(figure.columns[country])),
      ranks.map((i) => el('th', { scope: 'col' }, ordinal(i + 1))))),
    el('tbody', {}, shown.map((line) => el('tr', {},
      el('th', { scope: 'row', class: line.row[y]?.length > LONG ? 'long' : null }, line.row[y]),
      country >= 0 && el('td', {}, line.row[country]),
      ranks.map((i) => (line.cells[i] ? cell(line.cells[i], { ...figure.columns[v], i: v }, format) : el('td')))))));
  return [scroll(table, label), lines.size > ROWS && el('p', { class: 'cut' }, format.t.cutTable(ROWS, lines.size))];
}

function gaps(figure, format, label) {
  const v = indexOf(figure, figure.view.value);
  const rows = figure.rows.filter((r) => r[v] !== null && r[v] < 100);
  if (!rows.length) return [el('p', { class: 'note' }, format.t.full)];
  return [el('p', { class: 'note' }, format.t.below), ...plain(figure, rows, format, label)];
}

export function tableOf(figure, format, label) {
  if (figure.chart === 'ranks') return pivot(figure, format, label);
  if (figure.chart === 'coverage') return gaps(figure, format, label);
  return plain(figure, figure.rows, format, label);
}
