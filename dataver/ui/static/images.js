// Two images: side by side, blinking in one place, or their difference (by blending). Without it: side by side.

const section = document.querySelector(".images");
const pair = section.querySelector(".pair");
const buttons = [...section.querySelectorAll("[data-mode]")];
const bright = section.querySelector("[data-bright]");
const still = matchMedia("(prefers-reduced-motion: reduce)");
let timer;

section.querySelector(".modes").hidden = false;

/** Show a mode; blinking again, or with reduced motion, changes the image by hand. */
function show(mode) {
  const again = mode === "blink" && pair.classList.contains("blink");
  clearInterval(timer);
  pair.className = `pair ${mode}`;
  pair.classList.toggle("second", again && !pair.dataset.second);
  pair.dataset.second = pair.classList.contains("second") ? "1" : "";
  if (mode === "blink" && !again && !still.matches) {
    timer = setInterval(() => pair.classList.toggle("second"), 600);
  }
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.mode === mode);
  bright.disabled = mode !== "subtract";
}

for (const button of buttons) button.addEventListener("click", () => show(button.dataset.mode));
bright.addEventListener("click", () => {
  const on = section.classList.toggle("bright");
  bright.setAttribute("aria-pressed", on);
});
show("");
