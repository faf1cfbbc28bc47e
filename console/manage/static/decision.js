// Goes on with a search for an old decision, as the link does.
const further = document.querySelector('a[data-further]');
if (further) setTimeout(() => location.replace(further.href), 300);
