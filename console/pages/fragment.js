// Keeps the fragment of an address (#...) while the person signs in. Browsers send fragments to no server, and lose them
// at the form of an identity provider. It stays in this tab, in the storage of this origin.
{
  const {next, state, back} = document.currentScript.dataset;
  const key = 'sallyport-fragments', most = 8;
  const idOf = state => (state ?? '').split('.')[0];
  const all = () => JSON.parse(sessionStorage.getItem(key) ?? '[]');
  const keep = (id, fragment) => sessionStorage.setItem(key, JSON.stringify([...all(), [id, fragment]].slice(-most)));
  const kept = id => location.hash || (all().find(([other]) => other === id)?.[1] ?? '');
  const forget = id => sessionStorage.setItem(key, JSON.stringify(all().filter(([other]) => other !== id)));

  let to = next;
  try {
    if (!next) { // a page with links that lead to a sign-in
      const fragment = kept(idOf(new URLSearchParams(location.search).get('state')));
      document.addEventListener('DOMContentLoaded', () => {
        for (const link of document.querySelectorAll('a[data-fragment]')) link.hash ||= fragment;
      });
    } else if (back) { // from the identity provider
      if (!next.includes('#')) to += kept(idOf(state));
      forget(idOf(state));
    } else if (location.hash) { // to the identity provider; the mark in state comes back
      keep(idOf(state), location.hash);
      to = next.replace(state, state + '.f');
    }
  } catch {
    // Without storage, the fragment is lost as it is without a script.
  }
  if (to) location.replace(to);
}
