// What every page of the console has: times in the time zone of the browser, with UTC on hover.

const local = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'medium'});
const thisYear = new Intl.DateTimeFormat(undefined, {month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit', second: '2-digit'});

// show returns a time in the time zone of the browser: without the year, if it is this one.
function show(date) {
  return (date.getFullYear() === new Date().getFullYear() ? thisYear : local).format(date);
}

// localize writes the times below an element in the time zone of the browser.
export function localize(root = document) {
  for (const time of root.querySelectorAll('time[datetime]:not([data-ago]):not([data-tick])')) {
    time.textContent = show(new Date(time.dateTime));
  }
}

// timeElement returns an element for a time.
export function timeElement(text) {
  const time = document.createElement('time');
  time.dateTime = text;
  time.title = new Date(text).toISOString().replace('T', ' ').replace(/\..*/, ' UTC');
  time.textContent = show(new Date(text));
  return time;
}

// enhance makes what has been read work: the times, and a box that chooses all boxes of a form which are shown.
function enhance() {
  localize();
  for (const all of document.querySelectorAll('input[data-all]')) {
    const boxes = () => [...document.querySelectorAll(`input[type=checkbox][form="${all.dataset.all}"]:not(:disabled)`)];
    all.parentElement.hidden = boxes().length === 0;
    all.onchange = () => boxes().forEach(box => { box.checked = all.checked; });
  }
}

// On a narrow screen, the entry of the navigation that the page belongs to is moved into view.
const here = document.querySelector('nav [aria-current]');
if (here) here.closest('nav').scrollLeft = here.offsetLeft - (here.closest('nav').clientWidth - here.offsetWidth) / 2;

// A button that copies the text of an element.
for (const button of document.querySelectorAll('button[data-copy]')) {
  button.hidden = !navigator.clipboard;
  button.addEventListener('click', () => navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent));
}
enhance();
document.addEventListener('console:replaced', enhance); // a part of the page was read again

// A page that shows what is still being computed is asked for again until it is complete, unless somebody writes in it.
async function renew(wait = 1000) {
  if (!document.querySelector('main [data-renewing]')) return;
  await new Promise(resolve => setTimeout(resolve, wait));
  const response = await fetch(location.href).catch(() => null);
  if (!response?.ok) return;
  const next = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('main');
  const main = document.querySelector('main');
  if (next && !main.contains(document.activeElement)) {
    main.replaceWith(next);
    document.dispatchEvent(new Event('console:replaced'));
  }
  return renew(Math.min(wait * 1.5, 10000));
}

renew();

// follow receives server-sent events, each of which calls the function of its name in on, until the page is left. bar has a
// button that pauses, and says what became of the stream. When the viewer may no longer look, the page is loaded again, which
// then says so.
export function follow(url, bar, on) {
  const button = bar.querySelector('[data-pause]'), state = bar.querySelector('[data-state]');
  let source, paused = false, waiting;
  const open = () => {
    source = new EventSource(url);
    source.onopen = () => { state.textContent = ''; };
    for (const [name, handle] of Object.entries(on)) {
      source.addEventListener(name, event => handle(JSON.parse(event.data)));
    }
    source.onerror = async () => {
      state.textContent = state.dataset.lost;
      if (source.readyState !== EventSource.CLOSED || paused) {
        return;
      }
      const status = await fetch(location.href, {method: 'HEAD', redirect: 'manual'}).then(r => r.status, () => 503);
      if (status === 0 || status === 401 || status === 403 || status === 404) {
        location.reload();
      } else {
        waiting = setTimeout(open, 5000);
      }
    };
  };
  button.addEventListener('click', () => {
    paused = !paused;
    clearTimeout(waiting);
    if (paused) {
      source.close();
    } else {
      open();
    }
    state.textContent = '';
    button.textContent = paused ? button.dataset.paused : button.dataset.going;
  });
  bar.hidden = false;
  open();
  addEventListener('pagehide', () => source.close());
  addEventListener('pageshow', event => { if (event.persisted && !paused) open(); });
}
