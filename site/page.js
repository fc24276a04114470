/** What scripts add to a page that works without them: copying, the player, the search, the switch that keeps its place. */

const script = document.currentScript;

for (const element of document.querySelectorAll("[hidden]")) element.hidden = false;

// After the first paint: what it left out, and the pictures, since nobody scrolls before they print.
requestAnimationFrame(() =>
  setTimeout(() => {
    document.documentElement.classList.add("painted");
    for (const image of document.images) image.loading = "eager";
  })
);

// The other language, at the same place of the page.
const other = document.querySelector(".switch");
const plain = other.getAttribute("href");
const keepPlace = () => other.setAttribute("href", plain + location.hash);
addEventListener("hashchange", keepPlace);
keepPlace();

/** Puts a text where it can be pasted from. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page from disk may not
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

for (const button of document.querySelectorAll(".copy")) {
  const label = button.textContent;
  const said = document.documentElement.lang === "en" ? "Copied" : "已复制";
  button.addEventListener("click", async () => {
    const sources = button.dataset.copy === "command"
      ? [button.previousElementSibling]
      : button.closest("figure, .code").querySelectorAll(".src");
    await copy(Array.from(sources, ({ textContent }) => textContent).join(""));
    button.textContent = said;
    button.focus();
    setTimeout(() => (button.textContent = label), 1500);
  });
}

/** The terminals: all at once, step by step, or played in the order in which it happened. */
for (const player of document.querySelectorAll(".player")) {
  const steps = [...player.querySelectorAll("[data-at]")].sort((a, b) => a.dataset.at - b.dataset.at);
  const output = player.querySelector("output");
  const buttons = Object.fromEntries(
    [...player.querySelectorAll("[data-do]")].map((button) => [button.dataset.do, button]),
  );
  const playLabel = buttons.play.textContent;
  let at = steps.length;
  let timer;
  const stop = () => {
    clearTimeout(timer);
    timer = undefined;
    buttons.play.textContent = playLabel;
  };
  const show = (count) => {
    at = count;
    for (const [index, step] of steps.entries()) {
      step.classList.toggle("later", index >= at);
      step.classList.toggle("now", index === at - 1 && at < steps.length);
    }
    const [begin, middle, end] = player.dataset.progress.split("{}");
    output.textContent = at === steps.length ? "" : begin + at + middle + steps.length + end;
  };
  const step = () => show(at >= steps.length ? 1 : at + 1);
  const play = () => {
    step();
    if (at >= steps.length) return stop();
    // What is typed takes a person a moment.
    timer = setTimeout(play, /run|type|key/.test(steps[at].className) ? 1100 : 550);
  };
  buttons.play.addEventListener("click", () => {
    if (timer !== undefined) return stop();
    buttons.play.textContent = player.dataset.pause;
    play();
  });
  buttons.step.addEventListener("click", () => {
    stop();
    step();
  });
  buttons.all.addEventListener("click", () => {
    stop();
    show(steps.length);
  });
}

/** The search: Chinese anywhere in a sentence, other words by their beginning. The index comes with the first key. */
function search(query) {
  const terms =
    query.toLowerCase().match(/[\u2e80-\u9fff\uf900-\ufaff]+|[^\s\u2e80-\u9fff\uf900-\ufaff]+/g) ?? [];
  const find = (text, term) => {
    if (/[\u2e80-\u9fff\uf900-\ufaff]/.test(term)) return text.indexOf(term);
    for (let at = text.indexOf(term); at >= 0; at = text.indexOf(term, at + 1)) {
      if (at === 0 || !/[\p{L}\p{N}]/u.test(text[at - 1]) || /[\u2e80-\u9fff]/.test(text[at - 1])) return at;
    }
    return -1;
  };
  return globalThis.SEARCH.flatMap(([path, title, text]) => {
    const inTitle = terms.map((term) => find(title.toLowerCase(), term));
    const inText = terms.map((term) => find(text.toLowerCase(), term));
    if (terms.length === 0 || terms.some((_, index) => inTitle[index] < 0 && inText[index] < 0)) return [];
    const score = inTitle.filter((at) => at >= 0).length * 1e6 - Math.max(0, inText[0]);
    return [{
      path,
      title,
      text,
      at: Math.max(0, inText.find((at) => at >= 0) ?? 0),
      length: terms[0].length,
      score,
    }];
  }).sort((a, b) => b.score - a.score).slice(0, 12);
}

const find = document.querySelector(".find");
const input = document.createElement("input");
Object.assign(input, {
  type: "search",
  placeholder: find.dataset.label,
  autocomplete: "off",
  spellcheck: false,
});
input.setAttribute("aria-label", find.dataset.hint);
const list = document.createElement("div");
list.className = "found";
list.setAttribute("aria-live", "polite");
list.hidden = true;
find.append(input, list);

function showFound() {
  const query = input.value.trim();
  list.hidden = query === "" || !globalThis.SEARCH;
  if (list.hidden) return list.replaceChildren();
  const found = search(query).map(({ path, title, text, at, length }) => {
    const link = document.createElement("a");
    link.href = `${script.dataset.top}/${path}`;
    const name = document.createElement("b");
    name.textContent = title;
    const excerpt = document.createElement("span");
    const mark = document.createElement("mark");
    mark.textContent = text.slice(at, at + length);
    const begin = Math.max(0, at - 30);
    const before = text.slice(begin, at).replace(begin > 0 ? /^\w+\s/ : "", "");
    excerpt.append((begin > 0 ? "…" : "") + before, mark, text.slice(at + length, at + 70));
    link.append(name, excerpt);
    return link;
  });
  const nothing = document.createElement("p");
  nothing.textContent = find.dataset.nothing;
  list.replaceChildren(...(found.length > 0 ? found : [nothing]));
}

input.addEventListener("input", () => {
  if (globalThis.SEARCH) return showFound();
  if (document.querySelector("script[data-search]")) return;
  const index = document.createElement("script");
  index.src = script.dataset.index;
  index.dataset.search = "";
  index.addEventListener("load", showFound);
  document.head.append(index);
});
find.addEventListener("keydown", (event) => {
  const links = [...list.querySelectorAll("a")];
  const at = links.indexOf(document.activeElement);
  if (event.key === "Escape") {
    input.value = "";
    showFound();
    input.focus();
  } else if (event.key === "ArrowDown" && links.length > 0) {
    links[Math.min(at + 1, links.length - 1)].focus();
    event.preventDefault();
  } else if (event.key === "ArrowUp" && at >= 0) {
    (links[at - 1] ?? input).focus();
    event.preventDefault();
  } else if (event.key === "Enter" && document.activeElement === input && links.length > 0) {
    links[0].click();
  }
});
addEventListener("keydown", (event) => {
  const isTyping = /^(?:INPUT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  input.focus();
  event.preventDefault();
});
document.addEventListener("click", (event) => {
  if (!find.contains(event.target)) list.hidden = true;
});
input.addEventListener("focus", showFound);
