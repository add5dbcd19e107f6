// What every page needs of a script: filters that answer while typing, copy buttons, keys. Without it all works, too.

/** Ask for a page; return its parts with the ids of some elements, or null if it is an error. */
async function parts(url, elements) {
  const response = await fetch(url);
  if (!response.ok) return null;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return [...elements].map((element) => [element, page.getElementById(element.id)]);
}

/** Search as you type: a form with `data-live="#id"` asks for that part, or those parts, of its page. */
let waiting;
let latest = 0;
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-live]");
  if (!form) return;
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const mine = ++latest;
    const url = `${form.action}?${query}`;
    const found = await parts(url, document.querySelectorAll(form.dataset.live));
    if (!found || mine !== latest) return;
    for (const [old, fresh] of found) old.replaceWith(fresh);
    history.replaceState(null, "", url);
  }, 120);
});

/** Pages of a list: a link in a `.pager` replaces the part around it, so that nothing else is drawn again. */
document.addEventListener("click", async (event) => {
  const link = event.target.closest(".pager a");
  const part = link?.closest("[id]:not(main)");
  if (!part || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  clearTimeout(waiting);
  const mine = ++latest;
  const [[, fresh]] = (await parts(link.href, [part])) ?? [[]];
  if (mine !== latest) return;
  if (!fresh) return location.assign(link.href); // it says why
  part.replaceWith(fresh);
  history.pushState(null, "", link.href);
  shown = location.search;
  (fresh.querySelector(`[rel="${link.rel}"]`) ?? fresh.querySelector(".pager a"))?.focus({ preventScroll: true });
  if (fresh.getBoundingClientRect().top < 0) fresh.scrollIntoView();
});
let shown = location.search;
addEventListener("popstate", () => location.search !== shown && location.reload());

/** What takes time: the elements with `data-late` are those of the page in `data-load`. */
for (const place of document.querySelectorAll("[data-load]")) {
  const late = place.querySelectorAll("[data-late]");
  parts(place.dataset.load, late).then((found) => {
    for (const [old, fresh] of found ?? []) old.replaceWith(fresh ?? "");
    if (!found) for (const each of late) each.textContent = "–";
  });
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
});

/** Keys: an element with `data-key` is focused, or clicked if it is a link, unless somebody is typing. */
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const wanted = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!wanted) return;
  event.preventDefault();
  wanted.matches("a, button") ? wanted.click() : wanted.focus();
});
