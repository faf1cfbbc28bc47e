// Draws the charts of the first page so that they can be zoomed, and refreshes the page while somebody looks.

const {localize} = await import(document.querySelector('script[src$="/console.js"]').src);
const charts = document.getElementById('charts');
const {default: uPlot} = await import(charts.dataset.uplot);
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plots = new Map(); // by the name of the chart
const height = 195;

// took returns seconds as text.
const took = s => s === null || s === undefined ? '–' : s === 0 ? '0' : s < .001 ? `${(s * 1000).toPrecision(2)} ms` : s < 1 ? `${Math.round(s * 1000)} ms` : `${+s.toFixed(s < 10 ? 1 : 0)} s`;
const count = n => n === null || n === undefined ? '–' : n.toLocaleString(undefined, {maximumFractionDigits: 1});

// points returns the times of a chart and its values: of a stack, each upon those below it, and the highest first.
function points(chart) {
  const times = chart.series[0]?.values.map((_, i) => chart.begin + i * chart.step) ?? [];
  const sums = times.map(() => 0);
  const lines = chart.series.map(s => s.values.map((v, i) => chart.stack ? sums[i] += v ?? 0 : v));
  return [times, ...(chart.stack ? lines.reverse() : lines)];
}

// options returns how a chart is drawn.
function options(chart, element) {
  const shown = chart.unit === 'seconds' ? took : count;
  const line = {stroke: colour('--quiet'), grid: {stroke: colour('--line'), width: 1}, ticks: {show: false}, font: '12px system-ui, sans-serif'};
  const list = chart.stack ? [...chart.series].reverse() : chart.series;
  return {
    width: element.clientWidth, height, legend: {show: false},
    cursor: {sync: {key: 'overview'}, drag: {x: true, y: false, setScale: false}, points: {show: false}},
    scales: {y: {range: (_, min, max) => [0, Math.max(max * 1.05, chart.unit === 'seconds' ? .001 : 4)]}},
    axes: [line, {...line, size: 62, values: (_, splits) => splits.map(shown)}],
    series: [{}, ...list.map(s => {
      const ink = colour('--series-' + s.class.slice(1));
      return chart.stack ? {stroke: ink, fill: ink, width: 0, paths: uPlot.paths.stepped({align: 1}), points: {show: false}} : {stroke: ink, width: 2};
    })],
    hooks: {setSelect: [plot => zoom(plot, chart)], setCursor: [plot => tell(plot, chart, element, shown)]},
  };
}

// zoom leads to the page of the time that was chosen.
function zoom(plot, chart) {
  if (plot.select.width < 8) return;
  const time = x => new Date(Math.round(plot.posToVal(x, 'x')) * 1000).toISOString().replace(/\.\d+/, '');
  const from = time(plot.select.left), until = time(plot.select.left + plot.select.width);
  if ((Date.parse(until) - Date.parse(from)) / 1000 >= Math.max(10, chart.step)) location.search = new URLSearchParams({from, until});
}

// tell shows the values below the cursor in the legend, or what the server wrote there.
function tell(plot, chart, element, shown) {
  const figure = element.closest('figure'), at = plot.cursor.idx;
  figure.querySelectorAll('.legend b').forEach((b, i) => {
    b.dataset.shown ??= b.textContent;
    b.textContent = at === null || at === undefined ? b.dataset.shown : shown(chart.series[i]?.values[at]);
  });
  element.title = at === null || at === undefined ? '' : new Date((chart.begin + at * chart.step) * 1000).toLocaleString();
}

// draw draws a chart in place of the picture of the server.
function draw(chart) {
  const figure = document.querySelector(`[data-plot="${chart.name}"]`);
  const element = figure.querySelector('.zoom'), picture = figure.querySelector('.drawn');
  const former = plots.get(chart.name);
  const shape = JSON.stringify(chart.series.map(s => s.name));
  if (former && former.shape === shape) {
    former.chart.begin = chart.begin;
    former.chart.step = chart.step;
    former.chart.series = chart.series;
    former.plot.setData(points(chart));
    return;
  }
  former?.plot.destroy();
  plots.delete(chart.name);
  const empty = !chart.series.some(s => s.values.some(v => v));
  element.hidden = empty;
  picture.hidden = true;
  if (empty) return;
  figure.querySelector('.empty')?.remove();
  element.setAttribute('role', 'img');
  element.setAttribute('aria-label', picture.querySelector('svg').getAttribute('aria-label'));
  plots.set(chart.name, {chart, shape, plot: new uPlot(options(chart, element), points(chart), element)});
}

function drawAll(list) {
  for (const chart of list) draw(chart);
}

let newest = await (await fetch(charts.dataset.charts)).json();
drawAll(newest);
document.querySelector('.zoomhint').hidden = false;

new ResizeObserver(() => {
  for (const {plot} of plots.values()) plot.setSize({width: plot.root.parentElement.clientWidth, height});
}).observe(charts);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const {plot} of plots.values()) plot.destroy();
  plots.clear();
  drawAll(newest);
});

// shorten writes the labels of an axis in the time zone of the browser.
const forms = {clock: new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit'}), day: new Intl.DateTimeFormat(undefined, {day: 'numeric', month: 'short'})};
function shorten(root) {
  for (const time of root.querySelectorAll('time[data-tick]')) time.textContent = forms[time.dataset.tick].format(new Date(time.dateTime));
}
shorten(document);

const events = new EventSource(charts.dataset.events);
events.addEventListener('part', event => {
  const {Name, HTML} = JSON.parse(event.data);
  const part = document.getElementById('part-' + Name);
  if (part.contains(document.activeElement) || part.querySelector('details[open]')) return; // somebody reads it
  part.innerHTML = HTML;
  localize(part);
  shorten(part);
});
// While somebody chooses a time, the charts stay as they are.
let choosing = false;
addEventListener('mousedown', event => { choosing = event.target.classList.contains('u-over'); });
addEventListener('mouseup', () => { choosing = false; });
events.addEventListener('charts', event => {
  newest = JSON.parse(event.data);
  if (!choosing) drawAll(newest);
});
events.addEventListener('error', () => {
  document.getElementById('stopped').hidden = events.readyState !== EventSource.CLOSED;
});
