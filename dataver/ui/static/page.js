// What every page needs of a script: filters that answer while typing, copy buttons, keys. Without it all works, too.

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
    const response = await fetch(url);
    if (!response.ok || mine !== latest) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const part of document.querySelectorAll(form.dataset.live)) part.replaceWith(page.getElementById(part.id));
    history.replaceState(null, "", url);
  }, 120);
});

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
