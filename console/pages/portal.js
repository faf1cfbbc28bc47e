// Searches the applications of the page. Without it, the page lists all of them.
document.addEventListener('DOMContentLoaded', () => {
  const box = document.querySelector('[data-search]');
  if (!box) return;
  const input = box.querySelector('input'), found = document.getElementById('found'), nothing = document.querySelector('[data-nothing]');
  const plain = text => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  const tiles = [...document.querySelectorAll('[data-words]')].map(tile => ({tile, text: plain(tile.dataset.words)}));
  const shown = () => tiles.filter(({tile}) => !tile.hidden).map(({tile}) => tile);

  const search = () => {
    const words = plain(input.value).split(/\s+/).filter(Boolean);
    for (const {tile, text} of tiles) tile.hidden = !words.every(word => text.includes(word));
    for (const section of document.querySelectorAll('.apps')) section.hidden = !section.querySelector('[data-words]:not([hidden])');
    const n = shown().length;
    nothing.hidden = n > 0;
    found.textContent = words.length ? (n === 1 ? '1 application' : `${n} applications`) : '';
  };

  box.hidden = false;
  input.addEventListener('input', search);
  input.addEventListener('keydown', event => {
    if (event.key === 'Enter') shown()[0]?.querySelector('a').click();
    if (event.key === 'Escape') { input.value = ''; search(); }
  });
  document.addEventListener('keydown', event => {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    event.preventDefault();
    input.focus();
  });
  if (input.value) search(); // the browser came back to the page
});
