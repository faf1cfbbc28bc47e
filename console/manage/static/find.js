// The palette, which finds people, groups, routes, requests and pages: opened by / or Ctrl-K, a combobox for keyboard and
// screen reader. And lists that follow what is written in the field above them.

const dialog = document.getElementById('palette');
const text = document.getElementById('palette-text');
const list = document.getElementById('palette-list');
const status = document.getElementById('palette-status');
const delay = 80; // milliseconds without a key before a search
const turns = /[\u202a-\u202e\u2066-\u2069]/g; // characters that change the direction of text, which pages show as U+FFFD

let hits = [];
let active = -1;
let search; // an AbortController of the search under way
let timer;

function open(written = '') {
  if (dialog.open) return;
  text.value = written;
  dialog.showModal();
  text.focus();
  find();
}

// find asks for what is written, and forgets the search before.
async function find() {
  search?.abort();
  search = new AbortController();
  const {signal} = search;
  const asked = text.value.trim();
  try {
    const response = await fetch(`${dialog.dataset.search}?format=json&q=${encodeURIComponent(asked)}`, {signal, headers: {Accept: 'application/json'}});
    if (!response.ok || response.redirected) throw new Error(response.status);
    show((await response.json()).hits);
  } catch (err) {
    if (signal.aborted) return;
    show([]);
    status.textContent = dialog.dataset.failed;
  }
}

function show(found) {
  const shown = text => (text ?? '').replace(turns, '\ufffd');
  hits = found;
  list.replaceChildren(...hits.map((hit, i) => {
    const option = document.createElement('li');
    option.id = `palette-${i}`;
    option.setAttribute('role', 'option');
    const title = Object.assign(document.createElement('b'), {textContent: shown(hit.title)});
    const note = Object.assign(document.createElement('small'), {textContent: shown([hit.note, hit.state].filter(Boolean).join(' · '))});
    const kind = Object.assign(document.createElement('small'), {textContent: hit.label, className: 'kind'});
    option.append(title, ' ', note, ' ', kind);
    option.addEventListener('click', event => go(event, i));
    return option;
  }));
  text.setAttribute('aria-expanded', String(hits.length > 0));
  status.textContent = hits.length ? dialog.dataset.some.replace('{n}', hits.length) : dialog.dataset.nothing;
  choose(hits.length && text.value.trim() ? 0 : -1);
}

function choose(i) {
  list.querySelector('[aria-selected]')?.removeAttribute('aria-selected');
  active = i;
  const option = list.children[i];
  option?.setAttribute('aria-selected', 'true');
  option?.scrollIntoView({block: 'nearest'});
  if (option) text.setAttribute('aria-activedescendant', option.id);
  else text.removeAttribute('aria-activedescendant');
}

function go(event, i) {
  const path = hits[i]?.path ?? `${dialog.dataset.search}?q=${encodeURIComponent(text.value.trim())}`;
  if (event.ctrlKey || event.metaKey) {
    window.open(path, '_blank', 'noopener');
    return;
  }
  dialog.close();
  location.assign(path);
}

text.addEventListener('input', () => {
  clearTimeout(timer);
  active = -1; // Enter must not open what was found for something else
  text.removeAttribute('aria-activedescendant');
  timer = setTimeout(find, delay);
});

text.addEventListener('keydown', event => {
  const moves = {ArrowDown: active + 1, ArrowUp: active < 0 ? hits.length - 1 : active - 1, PageDown: Math.min(active + 8, hits.length - 1), PageUp: Math.max(active - 8, 0)};
  if (event.key === 'Enter') {
    event.preventDefault();
    go(event, active);
  } else if (event.key in moves && hits.length) {
    event.preventDefault();
    choose((moves[event.key] + hits.length) % hits.length);
  }
});

dialog.addEventListener('click', event => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener('close', () => { clearTimeout(timer); search?.abort(); });

document.addEventListener('keydown', event => {
  const typing = event.target.closest?.('input, textarea, select, [contenteditable]');
  const slash = event.key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (slash || event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    event.preventDefault();
    open();
  }
});

for (const field of document.querySelectorAll('input[data-palette]')) {
  field.addEventListener('click', () => open(field.value));
  field.addEventListener('input', () => {
    const written = field.value;
    field.value = '';
    open(written);
  });
}

// A list below a form that narrows it is read again as somebody types. The address follows, so that it can be sent on.
for (const form of document.querySelectorAll('form[data-list]')) {
  let reading;
  let waiting;
  const read = async () => {
    reading?.abort();
    reading = new AbortController();
    const {signal} = reading;
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ''));
    const address = form.action + (query.size ? `?${query}` : '');
    try {
      const response = await fetch(address, {signal, headers: {Accept: 'text/html'}});
      if (!response.ok || response.redirected) throw new Error(response.status);
      const page = new DOMParser().parseFromString(await response.text(), 'text/html');
      document.getElementById('results').replaceWith(document.adoptNode(page.getElementById('results')));
      document.querySelector('.formats')?.replaceWith(document.adoptNode(page.querySelector('.formats')));
      history.replaceState(null, '', address);
      document.dispatchEvent(new CustomEvent('console:replaced'));
    } catch {
      if (!signal.aborted) form.submit(); // the server says why
    }
  };
  form.addEventListener('input', () => {
    clearTimeout(waiting);
    waiting = setTimeout(read, delay);
  });
}
