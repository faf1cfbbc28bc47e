// Shows times in the time zone of the browser; the time in UTC stays on hover.
document.addEventListener('DOMContentLoaded', () => {
  const format = new Intl.DateTimeFormat('en-GB', {day: 'numeric', month: 'long', hour: '2-digit', minute: '2-digit', timeZoneName: 'short'});
  for (const time of document.querySelectorAll('time[datetime]')) {
    if (time.textContent.endsWith('UTC')) time.textContent = format.format(new Date(time.dateTime));
  }
});
