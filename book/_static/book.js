// Accessibility mends of the theme. A visible label is the name: a different aria-label hides it from voice control.
document.addEventListener("DOMContentLoaded", () => {
  for (const control of document.querySelectorAll("button[aria-label], summary[aria-label]")) {
    if (control.innerText.trim()) control.removeAttribute("aria-label");
  }
  // What opens a branch of the contents is an arrow without a word.
  for (const control of document.querySelectorAll("nav li > details > summary:not([aria-label])")) {
    const link = control.closest("li").querySelector("a");
    if (!control.innerText.trim()) control.setAttribute("aria-label", `Pages of ${link.textContent.trim()}`);
  }
  // The theme looks once, when the window's width has changed, at what the keyboard must scroll: perhaps too early.
  const wide = new ResizeObserver((all) => {
    for (const { target } of all) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
  });
  for (const code of document.querySelectorAll(".bd-article pre")) wide.observe(code);
  // Docutils calls the bibliography a list, whose children are then not list items.
  for (const list of document.querySelectorAll(".citation-list[role]")) list.removeAttribute("role");
  // Font Awesome titles the icons of the theme switch after the page has loaded; the button has its own name.
  for (const button of document.querySelectorAll(".theme-switch-button")) {
    const hush = () => {
      for (const icon of button.querySelectorAll("svg")) {
        if (icon.getAttribute("aria-hidden") !== "true") icon.setAttribute("aria-hidden", "true");
        icon.removeAttribute("role");
        icon.removeAttribute("aria-labelledby");
        icon.querySelector("title")?.remove();
      }
    };
    new MutationObserver(hush).observe(button, { childList: true, subtree: true, attributes: true });
    hush();
  }
});
// On paper nothing opens, slides or is dark: hidden parts are opened, pictures to compare stand side by side (both in
// the slot that is not clipped), the theme is the light one. All is put back afterwards.
{
  let undo = [];
  const set = (thing, name, value) => {
    const before = thing[name];
    undo.push(() => { thing[name] = before; });
    thing[name] = value;
  };
  const print = (printing) => {
    if (printing === undo.length > 0) return;
    if (!printing) {
      for (const back of undo.splice(0)) back();
      return;
    }
    set(document.documentElement.dataset, "theme", "light");
    for (const hidden of document.querySelectorAll(".bd-article details:not(.toggle-details)")) set(hidden, "open", true);
    for (const image of document.querySelectorAll("img-comparison-slider.rendered img[slot=first]")) set(image, "slot", "second");
  };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  matchMedia("print").addEventListener("change", (change) => print(change.matches));
}
