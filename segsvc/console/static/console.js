// What pages do with JavaScript: times of the reader's zone, the slider, progress of a file.
const language = document.documentElement.lang;

// Each time in the zone of the reader, with UTC beside it.
function showTimes(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const utc = document.createElement("small");
    utc.textContent = at.getTimezoneOffset() ? ` ${time.textContent.slice(-9)}` : "";
    time.title = time.textContent;
    time.textContent = at.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
    time.append(utc);
  }
}

// Without JavaScript, times in forms are UTC. With it, they are of the reader's zone; a time that
// is left as it was is sent as it came.
const zone = Intl.DateTimeFormat(language, { timeZoneName: "short" })
  .formatToParts(new Date()).find((part) => part.type === "timeZoneName").value;
function local(text) {
  const at = new Date(`${text}Z`);
  const moved = new Date(at - at.getTimezoneOffset() * 60000);
  return Number.isNaN(moved.getTime()) ? text : moved.toISOString().slice(0, 23);
}
function utc(input) {
  if (input.value === input.dataset.local) return input.dataset.utc;
  return input.value ? new Date(input.value).toISOString().slice(0, 23) : "";
}
function showZones(part) {
  for (const input of part.querySelectorAll("input[type=datetime-local]")) {
    input.dataset.utc = input.value;
    if (input.value) input.value = local(input.value);
    input.dataset.local = input.value;
  }
  for (const label of part.querySelectorAll(".zone")) label.textContent = zone;
}
document.addEventListener("formdata", (event) => {
  const inputs = [...event.target.elements].filter((each) => each.type === "datetime-local");
  for (const input of inputs) event.formData.delete(input.name);
  for (const input of inputs) event.formData.append(input.name, utc(input));
});

// A part of a page that takes time comes afterwards.
for (const place of document.querySelectorAll("[data-load]")) {
  fetch(place.dataset.load).then((answer) => answer.text()).then((text) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const part = page.querySelector("#part");
    if (part) place.replaceChildren(...part.childNodes);
    else place.append(page.querySelector("main").textContent);
  });
}

// A slider beside the number.
for (const input of document.querySelectorAll("[data-slider]")) {
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: 0, max: 100, value: Number(input.value) || 0 });
  slider.setAttribute("aria-label", input.labels[0].textContent);
  slider.addEventListener("input", () => { input.value = slider.value; });
  input.addEventListener("input", () => { slider.value = Number(input.value) || 0; });
  input.after(slider);
}

// A file is sent with progress, and stays chosen, so that it can be counted and then saved.
for (const form of document.querySelectorAll("form[data-progress]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const bar = form.querySelector("progress");
    const buttons = form.querySelectorAll("button");
    const answer = document.getElementById("answer");
    const data = new FormData(form);
    const file = data.get("file");
    data.delete("file"); // the fields come first
    data.append("file", file);
    const request = new XMLHttpRequest();
    const busy = (value) => {
      bar.hidden = !value;
      for (const button of buttons) button.disabled = value;
    };
    request.upload.onprogress = (sent) => { bar.value = sent.loaded / sent.total; };
    request.onload = () => {
      busy(false);
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      const part = page.getElementById("answer") || page.querySelector("main");
      if (part) answer.replaceChildren(...part.childNodes);
      else answer.textContent = `${request.status} ${form.dataset.progress}`;
      showTimes(answer);
      answer.scrollIntoView({ block: "nearest" });
    };
    request.onerror = () => {
      busy(false);
      answer.textContent = form.dataset.progress;
    };
    request.open("POST", event.submitter.formAction);
    answer.replaceChildren();
    bar.value = 0;
    busy(true);
    request.send(data);
  });
}

showTimes(document);
showZones(document);
