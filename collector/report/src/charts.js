// The charts, one function a kind: figure and format in, ECharts option and text alternative out.
import * as echarts from 'echarts/core';
import { BarChart, CustomChart, LineChart, ScatterChart, HeatmapChart } from 'echarts/charts';
import { GridComponent, LegendComponent, TooltipComponent, VisualMapComponent } from 'echarts/components';
import { SVGRenderer } from 'echarts/renderers';
import { indexOf } from './format.js';

echarts.use([BarChart, CustomChart, LineChart, ScatterChart, HeatmapChart, GridComponent, LegendComponent, TooltipComponent, VisualMapComponent, SVGRenderer]);

const palettes = {
  light: { ink: '#17212e', soft: '#4d5a6b', line: '#d3dae3', paper: '#ffffff', series: ['#0b5cad', '#c2410c', '#00796b', '#8a3ffc', '#7a6200', '#b0306a', '#3f4d5e'], heat: ['#e3edf8', '#0b3d6e'], full: '#9cc3ea', part: '#f0b34a', none: '#d9534a', undue: '#eceff3', hatch: 'rgba(23,33,46,.55)' },
  dark: { ink: '#e7ecf2', soft: '#a9b6c6', line: '#33414f', paper: '#17202b', series: ['#6cb2ff', '#ff9a66', '#4fd1b8', '#c9a6ff', '#e2c44d', '#ff8fbe', '#b7c3d1'], heat: ['#223247', '#8cc4ff'], full: '#33608f', part: '#c98a1e', none: '#b8443b', undue: '#222d39', hatch: 'rgba(231,236,242,.6)' },
};
const symbols = ['circle', 'triangle', 'rect', 'diamond', 'emptyCircle', 'roundRect', 'pin'];
const dashes = ['solid', 'dashed', 'dotted', [8, 3, 2, 3], [2, 2], [12, 4], 'solid'];
const FONT = 'system-ui, "Helvetica Neue", Arial, "Hiragino Sans", "Yu Gothic UI", "Noto Sans CJK JP", Meiryo, sans-serif';
const SENSORS = 60, PORTS = 30, BARS = 20;

const unique = (values) => [...new Set(values)];

// A name beside a chart, cut where it would leave the chart no room: tooltip and table have all of it.
const pen = document.createElement('canvas').getContext('2d');
function shorten(name, room) {
  pen.font = `12px ${FONT}`;
  const letters = [...String(name)], fits = (n) => pen.measureText(letters.slice(0, n).join('')).width <= room;
  if (fits(letters.length)) return name;
  let n = 0;
  while (fits(n + 1)) n += 1;
  return `${letters.slice(0, n).join('')}…`;
}

// How many pixels more a legend takes that does not fit in one line: what stands below it must give way.
function legendRows(p, names) {
  pen.font = `13px ${FONT}`;
  let rows = 0, left = 0;
  for (const name of names) {
    const room = 30 + 16 + pen.measureText(name).width;
    if (left > 0 && left + room > p.width) {
      rows += 1;
      left = 0;
    }
    left += room;
  }
  return 24 * rows;
}

const nameLabel = (p) => ({ color: p.ink, fontSize: 12, interval: 0, formatter: (v) => shorten(v, p.names) });

function decal(p) {
  return { symbol: 'rect', dashArrayX: [1, 0], dashArrayY: [2, 4], rotation: -Math.PI / 4, color: p.hatch };
}

function frame(p, format) {
  return {
    animation: false,
    textStyle: { fontFamily: FONT },
    color: p.series,
    legend: { top: 0, left: 0, itemGap: 16, textStyle: { color: p.ink, fontSize: 13 }, selectedMode: false },
    grid: { left: 8, right: 14, top: 40, bottom: 8, containLabel: true },
    // text alone: neither HTML nor styles in it
    tooltip: { renderMode: 'richText', confine: true, backgroundColor: p.paper, borderColor: p.soft, textStyle: { color: p.ink, fontSize: 13 } },
    format,
  };
}

const category = (p, data, rest = {}) => ({ type: 'category', data, axisLine: { lineStyle: { color: p.soft } }, axisTick: { lineStyle: { color: p.soft } }, axisLabel: { color: p.ink, fontSize: 12, hideOverlap: true }, ...rest });
const values = (p, format, rest = {}) => ({ type: 'value', splitLine: { lineStyle: { color: p.line } }, axisLabel: { color: p.ink, fontSize: 12, hideOverlap: true, formatter: (v) => format.numbers.format(v) }, ...rest });

function seriesOf(figure, format) {
  const x = indexOf(figure, figure.view.x), y = indexOf(figure, figure.view.y), s = figure.view.series ? indexOf(figure, figure.view.series) : -1;
  const xs = unique(figure.rows.map((r) => r[x]));
  // the largest first: it is what the eye looks for
  const sums = new Map();
  for (const r of figure.rows) sums.set(s < 0 ? '' : r[s], (sums.get(s < 0 ? '' : r[s]) ?? 0) + (r[y] ?? 0));
  const keys = figure.columns[s]?.type === 'side' ? unique(figure.rows.map((r) => r[s])) : [...sums.keys()].sort((a, b) => sums.get(b) - sums.get(a));
  const series = keys.map((key) => {
    const at = new Map(figure.rows.filter((r) => s < 0 || r[s] === key).map((r) => [r[x], r[y]]));
    return { key, name: s < 0 ? format.text(figure.columns[y]) : format.value(key, figure.columns[s]), data: xs.map((v) => at.get(v) ?? null) };
  });
  return { xs, x, y, series, column: figure.columns[y] };
}

function describe(figure, format, { xs, x, series }) {
  const all = series.flatMap((s) => s.data.map((v, i) => ({ v, at: `${s.name}, ${format.value(xs[i], figure.columns[x], figure.unit)}, ${format.numbers.format(v)}` }))).filter((p) => p.v !== null);
  all.sort((a, b) => b.v - a.v);
  return format.t.alt(format.t.kinds[figure.chart] ?? figure.chart, format.t.series(series.map((s) => s.name)), all.length, all[0]?.at, all.at(-1)?.at);
}

// Where nobody observed there is a hatched column, never a zero.
function hatching(p, xs, series, format) {
  const missing = xs.map((_, i) => i).filter((i) => series.every((s) => s.data[i] === null));
  if (!missing.length) return [];
  return [{
    id: 'hatch', name: format.t.unobserved, type: 'custom', silent: true, z: 0, data: missing.map((i) => [i, 0]),
    itemStyle: { color: p.undue, decal: decal(p) },
    renderItem: (params, api) => {
      const band = api.size([1, 0])[0];
      return { type: 'rect', shape: { x: api.coord([api.value(0), 0])[0] - band / 2, y: params.coordSys.y, width: band, height: params.coordSys.height },
               style: { fill: p.undue, decal: decal(p) } };
    },
  }];
}

function tooltipRows(figure, format, found) {
  return (items) => {
    const i = items[0].dataIndex;
    return [format.value(found.xs[i], figure.columns[found.x], figure.unit),
      ...found.series.map((s) => `${s.name}: ${s.data[i] === null ? format.t.unobserved : format.numbers.format(s.data[i])}`)].join('\n');
  };
}

const legendOf = (p, found, format) => legendRows(p, [...found.series.map((s) => s.name), ...(found.xs.some((_, i) => found.series.every((s) => s.data[i] === null)) ? [format.t.unobserved] : [])]);

function bars(figure, format, p) {
  const found = seriesOf(figure, format), base = frame(p, format), more = legendOf(p, found, format);
  return {
    height: 320 + more, alt: describe(figure, format, found),
    option: {
      ...base,
      tooltip: { ...base.tooltip, trigger: 'axis', axisPointer: { type: 'shadow' }, formatter: tooltipRows(figure, format, found) },
      xAxis: category(p, found.xs, { axisLabel: { color: p.ink, fontSize: 12, formatter: (v) => format.tick(v, figure.unit) } }),
      yAxis: [values(p, format, { name: format.text(found.column), nameTextStyle: { color: p.soft, align: 'left' }, nameGap: 12 })],
      grid: { ...base.grid, top: 68 + more },
      series: [...found.series.map((s, i) => ({
        id: s.key, name: s.name, type: 'bar', data: s.data, barMaxWidth: 64, itemStyle: { color: p.series[i % p.series.length] },
        label: { show: found.xs.length <= 6, position: 'top', color: p.ink, fontSize: 12, formatter: (d) => format.numbers.format(d.value) },
      })), ...hatching(p, found.xs, found.series, format)],
    },
  };
}

function lines(figure, format, p) {
  const found = seriesOf(figure, format), base = frame(p, format), more = legendOf(p, found, format);
  return {
    height: 340 + more, alt: describe(figure, format, found),
    option: {
      ...base,
      tooltip: { ...base.tooltip, trigger: 'axis', formatter: tooltipRows(figure, format, found) },
      xAxis: category(p, found.xs, { boundaryGap: true, axisLabel: { color: p.ink, fontSize: 12, hideOverlap: true, formatter: (v) => format.tick(v, figure.unit) } }),
      yAxis: [values(p, format, { name: format.text(found.column), nameTextStyle: { color: p.soft, align: 'left' }, nameGap: 12 })],
      grid: { ...base.grid, top: 68 + more },
      series: [...found.series.map((s, i) => ({
        id: s.key, name: s.name, type: 'line', data: s.data, connectNulls: false, symbol: symbols[i % symbols.length], symbolSize: 6,
        showSymbol: found.xs.length <= 60, lineStyle: { width: 2, type: dashes[i % dashes.length], color: p.series[i % p.series.length] }, itemStyle: { color: p.series[i % p.series.length] },
      })), ...hatching(p, found.xs, found.series, format)],
    },
  };
}

// Ports across, sensors down, the darker the higher the rank.
function ranks(figure, format, p) {
  const y = indexOf(figure, figure.view.y, format.lang), x = indexOf(figure, figure.view.x), v = indexOf(figure, figure.view.value), c = indexOf(figure, 'country');
  const label = (r) => (c < 0 ? r[y] : `${r[y]} ${r[c]}`);
  const allSensors = unique(figure.rows.map(label)), sensors = allSensors.slice(0, SENSORS);
  const weight = new Map();
  for (const r of figure.rows) if (r[v] !== null) weight.set(r[v], (weight.get(r[v]) ?? 0) + 100 - r[x]);
  const allPorts = [...weight.keys()].sort((a, b) => weight.get(b) - weight.get(a)), ports = allPorts.slice(0, PORTS);
  const col = new Map(ports.map((k, i) => [k, i])), line = new Map(sensors.map((k, i) => [k, i]));
  const data = figure.rows.filter((r) => r[v] !== null && col.has(r[v]) && line.has(label(r))).map((r) => [col.get(r[v]), line.get(label(r)), r[x]]);
  const most = Math.max(10, ...figure.rows.map((r) => r[x])), base = frame(p, format);
  return {
    height: 110 + 26 * sensors.length, width: 190 + 30 * ports.length, alt: format.t.altRanks(allSensors.length, allPorts.length),
    cut: [sensors.length < allSensors.length && format.t.cutChart(sensors.length, allSensors.length), ports.length < allPorts.length && format.t.cutPorts(ports.length, allPorts.length)],
    option: {
      ...base, legend: undefined,
      tooltip: { ...base.tooltip, formatter: (d) => `${sensors[d.value[1]]}\n${ports[d.value[0]]}: ${format.text(figure.columns[x])} ${d.value[2]}` },
      grid: { ...base.grid, top: 8 },
      xAxis: category(p, ports, { position: 'top', axisLine: { show: false }, axisTick: { show: false }, axisLabel: { color: p.ink, fontSize: 12, rotate: 60, interval: 0 } }),
      yAxis: category(p, sensors, { inverse: true, axisLine: { show: false }, axisTick: { show: false }, splitLine: { show: true, lineStyle: { color: p.line } }, axisLabel: nameLabel(p) }),
      visualMap: { show: false, min: 1, max: most, inRange: { color: [p.heat[1], p.heat[0]] } },
      series: [{ id: 'ranks', name: format.t.rank, type: 'heatmap', data, itemStyle: { borderColor: p.paper, borderWidth: 1 }, label: { show: true, fontSize: 12, formatter: (d) => String(d.value[2]) } }],
      labelOf: (rank) => (rank <= most / 2 ? p.paper : p.ink),
    },
  };
}

function ranges(figure, format, p) {
  const at = (key) => indexOf(figure, figure.view[key]);
  const x = at('x'), low = at('low'), high = at('high'), middle = at('middle');
  const rows = figure.rows.filter((r) => r[x] !== null), base = frame(p, format);
  const names = rows.map((r) => format.value(r[x], figure.columns[x]));
  const lowest = Math.min(...rows.map((r) => r[low])), highest = Math.max(...rows.map((r) => r[high]));
  const home = rows[0];
  return {
    height: 110 + 30 * rows.length,
    alt: format.t.alt(format.t.kinds.ranges, format.t.series([format.t.range, format.t.median]), rows.length,
      home && `${names[rows.findIndex((r) => r[high] === highest)]}, ${highest}`, home && `${names[rows.findIndex((r) => r[low] === lowest)]}, ${lowest}`),
    option: {
      ...base,
      tooltip: { ...base.tooltip, trigger: 'axis', axisPointer: { type: 'shadow' }, formatter: (items) => { const r = rows[items[0].dataIndex]; return `${names[items[0].dataIndex]}\n${format.t.range}: ${r[low]}–${r[high]}\n${format.t.median}: ${r[middle]}`; } },
      xAxis: values(p, format, { min: Math.max(0, Math.floor(lowest / 5) * 5 - 5), max: Math.min(255, Math.ceil(highest / 5) * 5), name: 'TTL', nameTextStyle: { color: p.soft } }),
      yAxis: category(p, names, { inverse: true, axisLabel: nameLabel(p) }),
      grid: { ...base.grid, right: 40 },
      series: [
        { id: 'ranges', name: format.t.range, type: 'custom', encode: { x: [0, 1], y: 2 }, itemStyle: { color: p.series[0], opacity: 0.75 }, data: rows.map((r, i) => [r[low], r[high], i]),
          renderItem: (_, api) => {
            const a = api.coord([api.value(0), api.value(2)]), b = api.coord([api.value(1), api.value(2)]), h = Math.min(16, api.size([0, 1])[1] * 0.6);
            return { type: 'rect', shape: { x: a[0] - 2, y: a[1] - h / 2, width: b[0] - a[0] + 4, height: h, r: 3 }, style: { fill: p.series[0], opacity: 0.75 } };
          } },
        { id: 'middle', name: format.t.median, type: 'scatter', symbol: 'diamond', symbolSize: 12, itemStyle: { color: p.series[1], borderColor: p.paper, borderWidth: 1 }, data: rows.map((r, i) => [r[middle], i]) },
      ],
    },
  };
}

function coverage(figure, format, p) {
  const y = indexOf(figure, figure.view.y, format.lang), x = indexOf(figure, figure.view.x), v = indexOf(figure, figure.view.value), c = indexOf(figure, 'country');
  const label = (r) => (c < 0 ? r[y] : `${r[y]} ${r[c]}`);
  const xs = unique(figure.rows.map((r) => r[x])), all = unique(figure.rows.map(label));
  let sensors = all;
  if (all.length > SENSORS) {
    const missed = new Map(all.map((k) => [k, 0]));
    for (const r of figure.rows) if (r[v] !== null) missed.set(label(r), missed.get(label(r)) + 100 - r[v]);
    const worst = new Set([...all].sort((a, b) => missed.get(b) - missed.get(a)).slice(0, SENSORS));
    sensors = all.filter((k) => worst.has(k));
  }
  const col = new Map(xs.map((k, i) => [k, i])), line = new Map(sensors.map((k, i) => [k, i])), base = frame(p, format), t = format.t;
  const kinds = [[t.observed, p.full, false], [t.partly, p.part, true], [t.none, p.none, true], [t.notDue, p.undue, false]];
  const kindOf = (value) => (value === null ? 3 : value >= 100 ? 0 : value > 0 ? 1 : 2);
  const rows = figure.rows.filter((r) => line.has(label(r)));
  const more = legendRows(p, kinds.map(([name]) => name));
  const gaps = figure.rows.filter((r) => r[v] !== null && r[v] < 100).length;
  return {
    height: 90 + more + 20 * sensors.length, alt: t.altCoverage(all.length, gaps), cut: [sensors.length < all.length && t.cutWorst(sensors.length, all.length)],
    option: {
      ...base, grid: { ...base.grid, top: 40 + more },
      tooltip: { ...base.tooltip, formatter: (d) => `${sensors[d.value[1]]}\n${format.value(xs[d.value[0]], { type: 'bucket' }, figure.unit)}: ${d.value[2] === null || Number.isNaN(d.value[2]) ? t.notDue : format.value(d.value[2], { type: 'percent' })}` },
      xAxis: category(p, xs, { axisLabel: { color: p.ink, fontSize: 12, hideOverlap: true, formatter: (d) => format.tick(d, figure.unit) } }),
      yAxis: category(p, sensors, { inverse: true, axisLabel: nameLabel(p) }),
      series: kinds.map(([name, color, hatched], kind) => ({
        id: `coverage-${kind}`, name, type: 'custom', itemStyle: { color, ...(hatched && { decal: decal(p) }) },
        data: rows.filter((r) => kindOf(r[v]) === kind).map((r) => [col.get(r[x]), line.get(label(r)), r[v]]),
        renderItem: (_, api) => {
          const at = api.coord([api.value(0), api.value(1)]), size = api.size([1, 1]), gap = size[0] > 6 ? 1 : 0;
          return { type: 'rect', shape: { x: at[0] - size[0] / 2, y: at[1] - size[1] / 2 + 1, width: size[0] - gap, height: size[1] - 2 },
                   style: { fill: color, ...(hatched && { decal: decal(p) }) } };
        },
      })).filter((s) => s.data.length),
    },
  };
}

// The longest bar first; beside each what its rank was before.
function ranking(figure, format, p) {
  const at = (key) => indexOf(figure, figure.view[key]);
  const name = at('name'), value = at('value'), previous = figure.view.previous ? at('previous') : -1, base = frame(p, format);
  const all = figure.rows.filter((r) => r[value] !== null), rows = all.slice(0, BARS);
  const names = rows.map((r) => format.value(r[name], figure.columns[name]));
  const written = rows.map((r) => format.value(r[value], figure.columns[value]));
  const before = rows.map((r) => (previous < 0 ? '' : format.t.before(r[previous])));
  return {
    height: 50 + 28 * rows.length, cut: [rows.length < all.length && format.t.cutBars(rows.length, all.length)],
    alt: format.t.alt(format.t.kinds.ranking, format.t.series([format.text(figure.columns[value])]), rows.length, rows.length && `${names[0]}, ${written[0]}`, rows.length === all.length && rows.length && `${names.at(-1)}, ${written.at(-1)}`),
    option: {
      ...base, legend: undefined, grid: { ...base.grid, top: 6, right: before.some(Boolean) ? 150 : 60 },
      tooltip: { ...base.tooltip, formatter: (d) => `${names[d.dataIndex]}: ${written[d.dataIndex]} ${before[d.dataIndex]}` },
      xAxis: values(p, format), yAxis: category(p, names, { inverse: true, axisTick: { show: false }, axisLabel: nameLabel(p) }),
      series: [{ id: 'ranking', name: format.text(figure.columns[value]), type: 'bar', barMaxWidth: 18, data: rows.map((r) => r[value]), itemStyle: { color: p.series[0] },
                 label: { show: true, position: 'right', color: p.ink, fontSize: 12, formatter: (d) => `${written[d.dataIndex]} ${before[d.dataIndex]}` } }],
    },
  };
}

// Weeks across, days of the week down.
function calendar(figure, format, p) {
  const x = indexOf(figure, figure.view.x), v = indexOf(figure, figure.view.value), base = frame(p, format);
  const days = figure.rows.map((r) => ({ day: r[x], value: r[v], date: new Date(`${r[x]}T00:00:00Z`) }));
  const weekday = (d) => (d.date.getUTCDay() + 6) % 7;
  const monday = (d) => new Date(d.date.getTime() - weekday(d) * 86400000).toISOString().slice(0, 10);
  const weeks = unique(days.map(monday)), col = new Map(weeks.map((w, i) => [w, i]));
  const names = [0, 1, 2, 3, 4, 5, 6].map((i) => new Intl.DateTimeFormat(format.lang, { weekday: 'short', timeZone: 'UTC' }).format(new Date(Date.UTC(2023, 0, 2 + i))));
  const most = Math.max(1, ...days.map((d) => d.value ?? 0));
  const seen = days.filter((d) => d.value !== null), missing = days.filter((d) => d.value === null);
  const sorted = [...seen].sort((a, b) => b.value - a.value), t = format.t;
  return {
    height: 250, width: 90 + 34 * weeks.length,
    alt: t.alt(t.kinds.calendar, t.series([format.text(figure.columns[v])]), seen.length, sorted.length && `${sorted[0].day}, ${format.numbers.format(sorted[0].value)}`, sorted.length && `${sorted.at(-1).day}, ${format.numbers.format(sorted.at(-1).value)}`),
    option: {
      ...base, legend: missing.length ? { ...base.legend, data: [t.unobserved] } : undefined, grid: { ...base.grid, top: missing.length ? 34 : 8 },
      tooltip: { ...base.tooltip, formatter: (d) => `${d.value[3]}: ${d.value[2] === null ? t.unobserved : format.numbers.format(d.value[2])}` },
      xAxis: category(p, weeks, { axisLine: { show: false }, axisTick: { show: false }, axisLabel: { color: p.ink, fontSize: 12, hideOverlap: true, formatter: (w) => format.tick(w, 'week') } }),
      yAxis: category(p, names, { inverse: true, axisLine: { show: false }, axisTick: { show: false }, axisLabel: { color: p.ink, fontSize: 12, interval: 0 } }),
      visualMap: { show: false, min: 0, max: most, dimension: 2, seriesIndex: 0, inRange: { color: p.heat } },
      series: [
        { id: 'calendar', name: format.text(figure.columns[v]), type: 'heatmap', data: seen.map((d) => [col.get(monday(d)), weekday(d), d.value, d.day]), itemStyle: { borderColor: p.paper, borderWidth: 2 }, label: { show: true, fontSize: 11, formatter: (d) => format.numbers.format(d.value[2]) } },
        ...(missing.length ? [{ id: 'unobserved', name: t.unobserved, type: 'custom', itemStyle: { color: p.undue, decal: decal(p) }, data: missing.map((d) => [col.get(monday(d)), weekday(d), null, d.day]),
          renderItem: (_, api) => {
            const c = api.coord([api.value(0), api.value(1)]), size = api.size([1, 1]);
            return { type: 'rect', shape: { x: c[0] - size[0] / 2 + 1, y: c[1] - size[1] / 2 + 1, width: size[0] - 2, height: size[1] - 2 }, style: { fill: p.undue, decal: decal(p) } };
          } }] : []),
      ],
      labelOf: (value) => (value > most / 2 ? p.paper : p.ink),
    },
  };
}

export const kinds = { bars, lines, ranks, ranges, coverage, ranking, calendar };

// Draws into the element; what is left behind on element.chart is for whoever resizes it, or looks at it.
export function draw(element, figure, format, dark) {
  const p = { ...palettes[dark ? 'dark' : 'light'], names: Math.max(110, Math.min(300, element.clientWidth * 0.4)), width: element.clientWidth || 680 };
  const made = kinds[figure.chart](figure, format, p);
  element.style.height = `${made.height}px`;
  if (made.width) element.style.minWidth = `${made.width}px`;
  const chart = echarts.init(element, null, { renderer: 'svg', width: element.clientWidth || undefined });
  const { format: _, labelOf, ...option } = made.option;
  if (labelOf) for (const s of option.series.filter((o) => o.type === 'heatmap')) s.data = s.data.map((d) => ({ value: d, label: { color: labelOf(d[2]) } }));
  chart.setOption(option);
  element.chart = chart;
  return made;
}
