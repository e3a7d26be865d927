// What a page does by itself: its theme, copy buttons, search. It reads well without any of it.
const root = document.documentElement, here = document.currentScript.dataset.root;
const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
root.dataset.theme = stored() || (dark() ? "dark" : "light");

addEventListener("DOMContentLoaded", () => {
  const theme = document.getElementById("theme");
  const say = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Use the ${theme.textContent.toLowerCase()} theme`); };
  theme.onclick = () => { root.dataset.theme = dark() ? "light" : "dark"; try { localStorage.setItem("theme", root.dataset.theme); } catch { } say(); };
  theme.hidden = false;
  say();

  if (!matchMedia("(min-width: 84rem)").matches) for (const list of document.querySelectorAll("#chapters, #TOC")) list.open = false;

  for (const code of document.querySelectorAll("main div.sourceCode")) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
    button.setAttribute("aria-label", "Copy this code");
    button.onclick = async () => { await navigator.clipboard.writeText(code.innerText.trim()); button.textContent = "Copied"; };
    code.classList.add("code-box");
    code.append(button);
  }

  // What scrolls must be reachable by keyboard.
  const reach = () => {
    for (const box of document.querySelectorAll("pre, .scroll, .html-output, .html-output *, math[display=block], #chapters, #TOC, main p, main li, main h2, main h3")) {
      const style = getComputedStyle(box), scrolls = /auto|scroll/.test(style.overflowX + style.overflowY);
      if (scrolls && (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight && /auto|scroll/.test(style.overflowY))) box.setAttribute("tabindex", "0");
    }
  };
  reach();
  addEventListener("resize", reach);

  const form = document.getElementById("search"), found = document.getElementById("found");
  if (!form || location.protocol === "file:") return;         // a browser reads no index from a file
  form.hidden = false;
  let index;
  form.oninput = async () => {
    index ||= await import(new URL(here + "pagefind/pagefind.js", location.href));
    const wanted = form.elements.q.value, search = await index.debouncedSearch(wanted, {}, 200);
    if (!search) return;
    const pages = await Promise.all(search.results.slice(0, 8).map(one => one.data()));
    if (form.elements.q.value !== wanted) return;
    found.replaceChildren(...pages.map(page => {
      const item = document.createElement("li"), link = Object.assign(document.createElement("a"), { href: page.url, textContent: page.meta.title });
      const words = document.createElement("p");
      words.innerHTML = page.excerpt;
      item.append(link, words);
      return item;
    }));
    if (wanted && !pages.length) found.replaceChildren(Object.assign(document.createElement("li"), { textContent: "Nothing found." }));
  };
  form.onsubmit = event => event.preventDefault();
});
