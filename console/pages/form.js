// Takes a form that could not be sent, sealed as it is, through the sign-in: it stays in this tab, in the storage of this
// origin, and is sent when the person presses the button.
{
  const key = 'sallyport-form';

  // keep makes the sign-in happen in this tab. Without storage it happens in another, and this page keeps the form.
  const keep = (form, field, link) => {
    try {
      const what = document.querySelector('[data-what]').textContent;
      sessionStorage.setItem(key, JSON.stringify({action: form.getAttribute('action'), what, sealed: field.value}));
      link.removeAttribute('target');
    } catch {}
  };

  // offer shows the form that this tab keeps.
  const offer = (form, field) => {
    let kept;
    try {
      kept = JSON.parse(sessionStorage.getItem(key));
    } catch {}
    if (!kept) return;
    const to = new URL(kept.action, location.origin);
    if (to.origin !== location.origin) return;
    form.action = to.href;
    field.value = kept.sealed;
    document.querySelector('[data-what]').textContent = kept.what;
    document.querySelector('[data-kept]').hidden = false;
    document.querySelector('[data-none]').hidden = true;
    form.querySelector('button').disabled = false;
    form.addEventListener('submit', () => sessionStorage.removeItem(key));
  };

  document.addEventListener('DOMContentLoaded', () => {
    const form = document.querySelector('form[data-form]'), field = form.elements['sallyport-form'];
    const link = document.querySelector('a[data-sign-in]');
    form.addEventListener('submit', () => setTimeout(() => form.querySelector('button').disabled = true));
    if (!field.value) offer(form, field);
    if (link) keep(form, field, link);
    if (form.dataset.form === 'auto') form.requestSubmit();
  });
}
