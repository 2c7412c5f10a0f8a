// Shows each time in the zone of the reader, with UTC in the hint.
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  const language = document.documentElement.lang;
  time.title = time.textContent;
  time.textContent = at.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}
