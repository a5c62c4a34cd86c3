// What pages do with a script: local times, copying, choosing rows, keys, light and dark. Every page works without it.
const all = (what, within = document) => [...within.querySelectorAll(what)];
const one = (what) => document.querySelector(what);

// Times, in the one format of all pages: what the browser's place calls them; UTC stays in the title.
const full = new Intl.DateTimeFormat("sv-SE", { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" });
for (const time of all("time")) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.valueOf())) continue;
  if ("local" in time.dataset) time.textContent = full.format(at);
  time.title = `${full.format(at)} · ${time.title}`;
}

// Light and dark.
const does = (name) => all(`[data-does="${name}"]`);
const keep = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`; };
for (const button of does("theme")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    keep("theme", dark ? "light" : "dark");
  });
}

// Copying: the text of an element, of what is around the button, or of an address of ours.
async function textFor(button) {
  if (button.dataset.from) return (await fetch(button.dataset.from)).text();
  if (button.dataset.of) return one(button.dataset.of).textContent;
  button.hidden = true;
  const text = button.closest(button.dataset.around).innerText;
  button.hidden = false;
  return text;
}
async function copied(button) {
  const text = await textFor(button);
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  const before = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1200);
}
for (const button of does("copy")) {
  button.hidden = false;
  button.addEventListener("click", () => copied(button));
}

// All frames opened, or closed again.
for (const button of does("open")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const parts = all("details", one(button.dataset.of));
    const open = parts.some((part) => !part.open);
    for (const part of parts) part.open = open;
  });
}

// One menu at a time, and none once something else is pressed, or Escape.
document.addEventListener("click", (event) => {
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && one("details.menu[open]");
  if (menu) { menu.open = false; menu.firstElementChild.focus(); }
});

// What came since the page was made: told, and not put where somebody reads.
for (const told of all("[data-news]")) {
  setInterval(async () => {
    if (document.visibilityState !== "visible") return;
    try {
      const { new: number } = await (await fetch(told.dataset.news)).json();
      told.hidden = !number;
      told.firstElementChild.textContent = `${number} group${number === 1 ? " has" : "s have"} newer events: look again`;
    } catch { /* the service is away for a moment */ }
  }, 15_000);
}

// On a phone a row of places begins with the one that is open.
for (const here of all(".top nav [aria-current], .tabs [aria-current]")) here.parentElement.scrollLeft += here.getBoundingClientRect().left - here.parentElement.getBoundingClientRect().left - 40;

// Choosing rows.
const boxes = all('tr[data-row] input[name="id"]');
const tell = () => {
  const chosen = boxes.filter((box) => box.checked).length;
  for (const place of does("chosen")) place.textContent = chosen ? `${chosen} chosen` : "";
  for (const box of does("all")) { box.checked = chosen === boxes.length && chosen > 0; box.indeterminate = chosen > 0 && chosen < boxes.length; }
};
for (const box of does("all")) {
  box.hidden = false;
  box.addEventListener("change", () => { for (const each of boxes) each.checked = box.checked; tell(); });
}
for (const box of boxes) box.addEventListener("change", tell);
tell();

// Keys: off while somebody writes, and where somebody switched them off.
const rows = all("tr[data-row]");
let at = -1;
const move = (by) => {
  if (!rows.length) return;
  rows[at]?.classList.remove("current");
  at = Math.min(rows.length - 1, Math.max(0, at + by));
  rows[at].classList.add("current");
  rows[at].scrollIntoView({ block: "nearest" });
  one("tr.current [data-open]").focus({ preventScroll: true });
};
const follow = (what) => { const link = one(what); if (link) link.click(); };
const open = (what) => { follow(what); one("details.menu[open] > div :is(button, select)")?.focus(); };
const help = one("#keys");
const acts = {
  j: () => move(1), k: () => move(-1), o: () => follow("tr.current [data-open]"), "[": () => follow("a[data-key=older]"), "]": () => follow("a[data-key=newer]"),
  x: () => { const box = one('tr.current input[name="id"]'); if (box) { box.checked = !box.checked; tell(); } },
  e: () => follow('[data-key="resolve"]'), i: () => open('[data-key="ignore"]'), a: () => open('[data-key="assign"]'),
  "/": () => { const field = one("#query"); if (field) { field.focus(); field.select(); } }, "?": () => help.showModal(),
};
const off = () => /(?:^|; )keys=off/.test(document.cookie);
for (const box of does("keys-off")) {
  box.checked = off();
  box.addEventListener("change", () => keep("keys", box.checked ? "off" : "on"));
}
for (const button of does("keys")) {
  button.hidden = false;
  button.addEventListener("click", () => help.showModal());
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open || event.target.closest("input:not([type=checkbox]), select, textarea")) return;
  if (!(event.key in acts) || (off() && event.key !== "?")) return;
  event.preventDefault();
  acts[event.key]();
});
