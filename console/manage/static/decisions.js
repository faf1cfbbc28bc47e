// Adds decisions to the list as they are made.
const {follow, localize} = await import(document.querySelector('script[src$="/console.js"]').src);

const most = 200; // rows
const bar = document.querySelector('.following'), list = document.getElementById('list');

if (bar) {
  const dropped = bar.querySelector('[data-dropped]');
  follow(bar.dataset.events + location.search, bar, {
    begun() {},
    decisions(sent) {
      dropped.textContent = sent.dropped ?? '';
      const next = document.createElement('div');
      next.innerHTML = sent.rows; // a part of this page, from this server
      localize(next);
      const body = list.querySelector('tbody'), rows = next.querySelectorAll('tbody tr');
      if (!body) {
        list.replaceChildren(...next.childNodes);
        return;
      }
      const known = new Set([...body.rows].map(row => row.id));
      body.prepend(...[...rows].filter(row => !known.has(row.id)));
      for (const row of [...body.rows].slice(most)) {
        if (!row.contains(document.activeElement)) row.remove();
      }
    },
  });
}
