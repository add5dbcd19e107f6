// A lightbox for links with `data-lightbox`: arrow keys go through those of the page, Escape closes.

const dialog = document.createElement("dialog");
dialog.className = "lightbox";
dialog.innerHTML = `<form method="dialog"><button aria-label="Close">×</button></form>
<button type="button" aria-label="Previous picture">←</button>
<figure><img alt=""><figcaption><a></a></figcaption></figure>
<button type="button" aria-label="Next picture">→</button>`;
document.body.append(dialog);
const [before, after] = dialog.querySelectorAll("button[type=button]");
const image = dialog.querySelector("img");
const caption = dialog.querySelector("a");
let current;

function show(link) {
  if (!link) return;
  current = link;
  image.src = link.dataset.image;
  image.alt = caption.textContent = link.title;
  caption.href = link.href;
  for (const [button, step] of [[before, -1], [after, 1]]) button.disabled = !near(step);
}

function near(step) {
  const all = [...document.querySelectorAll("[data-lightbox]")];
  return all[all.indexOf(current) + step];
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-lightbox]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(link);
  dialog.showModal();
});

/** A picture that has a note and that the browser cannot show leaves no broken icon. */
for (const picture of document.querySelectorAll(".note ~ .preview .picture"))
  picture.querySelector("img").decode().catch(() => picture.remove());

before.addEventListener("click", () => show(near(-1)));
after.addEventListener("click", () => show(near(1)));
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("close", () => current?.focus());
dialog.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation(); // the keys of the page turn its pages
  show(near(step));
});
