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
