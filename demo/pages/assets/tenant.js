// The tenant and start pages: draw the state that /state streams; post what is clicked.
'use strict';
const $ = id => document.getElementById(id);
const unfolded = new Set(); // pushes whose requests are unfolded

// el('p', {className: 'x'}, 'text', child…): every text goes in as text, never as HTML.
function el(tag, properties = {}, ...children) {
  const {data, ...rest} = properties;
  const e = Object.assign(document.createElement(tag), rest);
  Object.assign(e.dataset, data || {});
  e.append(...children.filter(c => c !== null && c !== undefined));
  return e;
}

const ms = n => n < 10 ? n.toFixed(1) + ' ms' : Math.round(n) + ' ms';

async function act(path, fields, control) {
  control.disabled = true;
  $('trouble').hidden = true;
  try {
    const response = await fetch(path, {method: 'POST', body: new URLSearchParams(fields)});
    if (!response.ok) throw new Error(await response.text());
  } catch (err) {
    $('trouble').textContent = err.message;
    $('trouble').hidden = false;
  } finally {
    control.disabled = false;
  }
}

function person(p, teams) {
  const team = el('select', {ariaLabel: `Move ${p.name} to another team`, disabled: !p.active},
    ...teams.map(t => el('option', {value: t, selected: t === p.team}, t)));
  team.onchange = () => act(`/people/${p.id}/move`, {team: team.value}, team);
  const end = p.active
    ? el('button', {className: 'stop', type: 'button', data: {act: 'offboard'}}, 'Offboard')
    : el('button', {className: 'go', type: 'button', data: {act: 'restore'}}, 'Restore');
  end.onclick = () => act(`/people/${p.id}/${p.active ? 'offboard' : 'restore'}`, {}, end);
  const face = el('div', {className: 'face', ariaHidden: 'true'}, p.initials);
  face.style.setProperty('--hue', p.hue);
  return el('li', {className: 'card person' + (p.active ? '' : ' gone'), data: {person: p.user}},
    face,
    el('div', {className: 'who'},
      el('h3', {}, p.name),
      el('span', {className: 'quiet'}, p.title),
      p.active ? null : el('span', {className: 'badge no'}, 'account disabled'),
      p.clocks > 0 ? el('span', {className: 'badge yes beat'}, el('span', {className: 'dot'}),
        p.clocks === 1 ? 'clock ticking' : `${p.clocks} clocks ticking`) : null),
    el('div', {className: 'acts'}, team, end));
}

function verdict(p) {
  if (p.problem) return el('p', {className: 'verdict no'}, p.problem);
  if (p.clocks === 0) return null;
  const clocks = p.clocks === 1 ? 'The clock' : `All ${p.clocks} clocks`;
  if (p.stopped !== null) {
    return el('p', {className: 'verdict no', data: {stopped: p.stopped}}, el('b', {}, ms(p.stopped)), el('br'),
      `${clocks} stopped ${ms(p.stopped)} after the push left; the push had its response after ${ms(p.answered)}.`);
  }
  return p.waiting
    ? el('p', {className: 'verdict'}, 'Watching the clock…')
    : el('p', {className: 'verdict yes'}, `${clocks} ticked on: still allowed.`);
}

function exchange(x) {
  const pretty = text => { try { return JSON.stringify(JSON.parse(text), null, 1); } catch { return text; } };
  return el('div', {},
    el('p', {className: 'exchange'}, el('code', {}, `${x.method} ${decodeURIComponent(x.path)}`),
      el('span', {className: 'badge ' + (x.status >= 200 && x.status < 300 ? 'yes' : 'no')}, String(x.status || 'no response')),
      el('span', {className: 'quiet'}, ms(x.took))),
    x.body ? el('pre', {}, el('code', {}, pretty(x.body))) : null,
    x.problem ? el('p', {}, x.problem) : null);
}

function push(p) {
  const n = p.exchanges.length;
  const more = el('details', {open: unfolded.has(p.id)},
    el('summary', {}, `${n} SCIM ${n === 1 ? 'request' : 'requests'}, ${ms(p.answered)}`), ...p.exchanges.map(exchange));
  more.ontoggle = () => more.open ? unfolded.add(p.id) : unfolded.delete(p.id);
  return el('li', {className: 'card push', data: {push: p.id}},
    el('h3', {}, p.what, el('span', {className: 'quiet'}, new Date(p.at).toLocaleTimeString('en-GB'))),
    verdict(p), more);
}

function drawTenant(state) {
  $('people').replaceChildren(...state.people.map(p => person(p, state.teams)));
  $('pushes').replaceChildren(...state.pushes.map(push));
  const team = $('hire').elements.team;
  if (team.options.length === 0) team.replaceChildren(...state.teams.map(t => el('option', {}, t)));
}

function drawStart(state) {
  const last = state.pushes.find(p => p.stopped !== null);
  if (!last) return;
  $('latest').textContent = ms(last.stopped);
  $('latest-what').textContent = `from push to stop: ${last.what}`;
}

const starting = document.body.dataset.page === 'start';
const states = new EventSource('/state');
states.onmessage = event => (starting ? drawStart : drawTenant)(JSON.parse(event.data));
states.onerror = () => { $('trouble').textContent = 'The demo does not answer. Is it still running?'; $('trouble').hidden = false; };
states.onopen = () => { $('trouble').hidden = true; };

if (!starting) {
  $('hire').onsubmit = event => {
    event.preventDefault();
    const form = event.target;
    act('/hire', {name: form.elements.name.value, team: form.elements.team.value}, form.querySelector('button'))
      .then(() => { form.elements.name.value = ''; });
  };
}
