// Keeps the list of live requests up to date.
const {follow, localize} = await import(document.querySelector('script[src$="/console.js"]').src);

const list = document.getElementById('list');
const bar = document.querySelector('.following');

// merge makes an element like another, row by row, so that what has the focus keeps it.
function merge(now, next) {
  const body = now.querySelector('tbody'), newBody = next.querySelector('tbody');
  if (!body || !newBody || now.querySelectorAll('th').length !== next.querySelectorAll('th').length) {
    now.replaceChildren(...next.childNodes);
    return;
  }
  const rows = new Map([...body.rows].map(row => [row.id, row]));
  let at = body.firstElementChild;
  for (const row of [...newBody.rows]) {
    const old = rows.get(row.id);
    if (!old) {
      body.insertBefore(row, at);
      continue;
    }
    rows.delete(row.id);
    [...row.cells].forEach((cell, i) => {
      if (old.cells[i].innerHTML !== cell.innerHTML && !old.cells[i].contains(document.activeElement)) {
        old.cells[i].replaceChildren(...cell.childNodes);
      }
    });
    if (old === at) {
      at = at.nextElementSibling;
    } else {
      body.insertBefore(old, at);
    }
  }
  rows.forEach(row => row.remove());
  for (const part of ['.count', '.pages']) {
    const old = now.querySelector(part), fresh = next.querySelector(part);
    if (old && fresh && old.innerHTML !== fresh.innerHTML) {
      old.replaceChildren(...fresh.childNodes);
    }
  }
}

follow(list.dataset.events + location.search, bar, {
  list(html) {
    const next = document.createElement('div');
    next.innerHTML = html; // a part of this page, from this server
    localize(next);
    merge(list, next);
  },
});
