// The clock: shows each tick of one WebSocket, and says so when it ends.
'use strict';
const $ = id => document.getElementById(id);
let ticks = 0;

const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ticks`);
socket.onmessage = event => {
  const tick = JSON.parse(event.data);
  const now = new Date(tick.time);
  $('clock').textContent = now.toLocaleTimeString('en-GB') + '.' + Math.floor(now.getMilliseconds() / 100);
  $('clock').dateTime = tick.time;
  ticks++;
  show('ticking', 'yes beat', 'ticking');
};
socket.onclose = async () => {
  const end = new Date();
  show('stopped', 'no', 'stopped');
  $('dash').classList.add('cut');
  $('detail').textContent = `The connection was cut at ${end.toLocaleTimeString('en-GB')}, after ${ticks} ticks. ` + await doorSays();
};

function show(state, colour, word) {
  if ($('dash').dataset.state === state) return;
  $('dash').dataset.state = state;
  $('state').className = 'badge ' + colour;
  $('word').textContent = word;
}

// doorSays asks for this very page as a program would, to hear why.
async function doorSays() {
  try {
    const answer = await fetch('/', {headers: {Accept: 'application/json'}, redirect: 'error'});
    if (answer.ok) return 'You may still come in: reload.';
    const problem = await answer.json().catch(() => ({}));
    return `Asked again, the door says ${answer.status}: ${problem.detail || answer.statusText + '.'} Reload to see.`;
  } catch {
    return 'The door does not answer.';
  }
}

const feed = new EventSource('/news');
feed.onmessage = event => {
  const line = document.createElement('li');
  line.textContent = new Date().toLocaleTimeString('en-GB') + '  ' + event.data;
  $('news').prepend(line);
  while ($('news').children.length > 6) $('news').lastChild.remove();
};
feed.onerror = () => {
  feed.close(); // once cut, asking again is for a person to decide
  const line = document.createElement('li');
  line.className = 'quiet';
  line.textContent = 'the feed has ended';
  $('news').prepend(line);
};
