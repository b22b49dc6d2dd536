// The page: reads the report's data from the page itself and builds everything from it.
import { el } from './dom.js';
import { texts } from './texts.js';
import { Format, indexOf } from './format.js';
import { tableOf } from './table.js';
import { draw, kinds } from './charts.js';

// A mark that turns the direction of writing round, in a name, must not turn round what is beside it: it is shown.
const marks = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const report = JSON.parse(document.getElementById('data').textContent, (_, v) => (typeof v === 'string' ? v.replace(marks, '\ufffd') : v));
const darkQuery = matchMedia('(prefers-color-scheme: dark)');
const PRINTED = 680; // px: what A4 leaves between its margins
let charts = [];
let lang = document.documentElement.lang === 'en' ? 'en' : 'ja';
let printing = false;

function facts(format) {
  const { head } = report, t = format.t, totals = head.audience === 'public' ? ['packets_a_day', 'sources_a_day'] : ['packets', 'sources'];
  return el('dl', { class: 'facts' }, [...totals, 'sensors', 'regions', 'sensor_days'].map((key) =>
    el('div', {}, el('dt', {}, t.facts[key]), el('dd', {}, head[key] === null && totals.includes(key) ? '–' : format.numbers.format(head[key] ?? 0)))));
}

function cards(figure, format) {
  const at = (key) => indexOf(figure, figure.view[key]);
  return el('dl', { class: 'facts' }, figure.rows.map((row) => {
    const change = row[at('change')], value = row[at('value')];
    return el('div', {},
      el('dt', {}, format.value(row[at('name')], figure.columns[at('name')])),
      el('dd', {}, value === null ? '–' : format.numbers.format(value),
        el('small', {}, change === null ? format.t.noChange : format.t.change(format.value(change, { type: 'change' }), format.text(report.head.previous)))));
  }));
}

function verdict(figure, format) {
  const at = (key) => indexOf(figure, figure.view[key]), row = figure.rows[0];
  const value = row[at('verdict')];
  const tone = { consistent_with_home: 'good', home_nearest: 'good', contradicts_home: 'bad' }[value] ?? '';
  return el('p', { class: `verdict ${tone}` }, el('b', {}, format.value(value, { type: 'verdict' })),
    format.value(row[at('reason')], { type: 'reason' }));
}

function chartOf(figure, format, id) {
  const node = el('div', { class: 'chart', role: 'img', id: `${id}-chart` });
  charts.push({ node, figure, format });
  return el('div', { class: 'scroll' }, node);
}

function body(figure, format, id) {
  const t = format.t;
  if (!figure.rows.length) return [el('p', { class: 'empty' }, figure.empty ? format.text(figure.empty) : t.empty)];
  const label = `${t.table}: ${format.text(figure.title)}`;
  if (figure.chart === 'cards') return [cards(figure, format)];
  if (figure.chart === 'table') return tableOf(figure, format, label);
  const open = figure.chart === 'ranks' || figure.chart === 'ranges' || figure.chart === 'ranking';
  const drawable = kinds[figure.chart] && (figure.chart !== 'ranges' || figure.rows[0][0] !== null);
  return [
    drawable ? chartOf(figure, format, id) : el('p', { class: 'empty' }, t.empty),
    drawable && el('details', { open }, el('summary', {}, t.table), tableOf(figure, format, label)),
  ];
}

function figureOf(figure, format, number) {
  const t = format.t, id = `figure-${figure.id}`;
  const parts = [body(figure, format, id)].flat(2).filter(Boolean);
  // what must not be parted by the end of a page: a heading and what it is the heading of (of a long table its first rows: see the style)
  const kept = parts[0].classList.contains('scroll') && parts[0].querySelector('table') ? [] : parts.splice(0, 1);
  return el('figure', { id, 'aria-labelledby': `${id}-title` },
    el('div', { class: 'keep' },
      el('h3', { id: `${id}-title` }, el('span', { class: 'no' }, `${t.figure}${format.lang === 'en' ? ' ' : ''}${number}`), format.text(figure.title)),
      el('p', { class: 'lead' }, format.text(figure.lead)),
      figure.rows.length > 0 && figure.view.verdict && verdict(figure, format),
      kept),
    parts,
    figure.rows_total > figure.rows.length && el('p', { class: 'cut' }, t.cutRows(figure.rows.length, figure.rows_total)),
    el('p', { class: 'method' }, el('b', {}, t.method), ' ', format.text(figure.method)),
    el('p', { class: 'method' }, el('b', {}, t.caveat), ' ', format.text(figure.caveat)),
    el('p', { class: 'files' }, el('a', { href: `${figure.id}.csv`, download: `${figure.id}.csv`, 'aria-label': `${t.csv}: ${format.text(figure.title)}` }, t.csv)),
    el('details', { class: 'sql' }, el('summary', {}, t.sql), el('pre', { tabindex: 0, role: 'region', 'aria-label': `${t.sql}: ${format.text(figure.title)}` }, el('code', {}, figure.sql.trim()))));
}

function drawAll() {
  for (const c of charts) {
    c.node.chart?.dispose();
    c.node.style.minWidth = printing ? `${PRINTED}px` : '';
    c.node.style.width = printing ? `${PRINTED}px` : '';
    const made = draw(c.node, c.figure, c.format, darkQuery.matches && !printing);
    const name = `${c.format.text(c.figure.title)}. ${made.alt}`, box = c.node.parentElement;
    c.node.setAttribute('aria-label', name);
    // what is wider than the screen is scrolled with the keyboard, too
    const wide = box.scrollWidth > box.clientWidth;
    for (const [key, value] of [['tabindex', 0], ['role', 'region'], ['aria-label', c.format.text(c.figure.title)]]) {
      if (wide) box.setAttribute(key, value);
      else box.removeAttribute(key);
    }
    const cuts = (made.cut ?? []).filter(Boolean);
    if (cuts.length && !c.cut) {
      c.cut = el('p', { class: 'cut' }, cuts.join(' '));
      box.after(c.cut);
    }
  }
}

function render() {
  const format = new Format(lang), t = format.t, { head } = report;
  document.documentElement.lang = lang;
  const title = head.extra ? t.extraTitle(head.extra, format.text(head.title)) : t.title(format.text(head.title));
  document.title = title.join('');
  document.getElementById('title').replaceChildren(...title.map((part) => el('span', {}, part)));
  document.getElementById('when').textContent = t.when({ ...head, from: head.from.replace('T00:00:00', '').replace('T', ' '), to: head.last ?? head.to.replace('T', ' ') });
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = t[node.dataset.text];
  for (const button of document.querySelectorAll('[data-lang]')) button.setAttribute('aria-pressed', String(button.dataset.lang === lang));
  const warnings = [head.audience === 'internal' && t.internal, !head.complete && t.incomplete(head.generated), !head.sensors && t.nothing].filter(Boolean);

  for (const c of charts) c.node.chart?.dispose();
  charts = [];
  const order = Object.keys(t.sections), contents = el('ol'), main = document.getElementById('main');
  const sections = order.filter((s) => report.figures.some((f) => f.section === s) || (s === 'overview' && !head.extra));
  let number = 0;
  main.replaceChildren(...warnings.map((w) => el('p', { class: 'warning' }, w)), ...sections.map((s) => {
    const figures = report.figures.filter((f) => f.section === s);
    const list = el('ol');
    contents.append(el('li', {}, el('a', { href: `#${s}` }, t.sections[s]), list));
    return el('section', { id: s, 'aria-labelledby': `${s}-title` }, el('h2', { id: `${s}-title` }, t.sections[s]),
      s === 'overview' && facts(format),
      figures.map((f) => {
        number += 1;
        list.append(el('li', {}, el('a', { href: `#figure-${f.id}` }, format.text(f.title))));
        return figureOf(f, format, number);
      }));
  }));
  const nav = document.getElementById('contents');
  nav.setAttribute('aria-labelledby', 'contents-title');
  nav.replaceChildren(el('h2', { id: 'contents-title' }, t.contents), contents);
  document.getElementById('end').replaceChildren(
    el('h2', {}, t.terms), el('p', {}, t.termsText), el('p', {}, head.audience === 'public' ? t.publicText : t.internal),
    el('h2', {}, t.data), el('p', {}, t.dataText), el('p', {}, el('a', { href: 'report.json' }, 'report.json')), el('p', {}, t.credit));
  drawAll();
}

for (const button of document.querySelectorAll('[data-lang]')) {
  button.addEventListener('click', () => {
    lang = button.dataset.lang;
    render();
  });
}
darkQuery.addEventListener('change', drawAll);
let wait;
addEventListener('resize', () => {
  clearTimeout(wait);
  wait = setTimeout(() => !printing && drawAll(), 150);
});
function print(on) {
  if (printing === on) return;
  printing = on;
  drawAll();
}
addEventListener('beforeprint', () => print(true));
addEventListener('afterprint', () => print(false));
matchMedia('print').addEventListener('change', (e) => print(e.matches));
render();
