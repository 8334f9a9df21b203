"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const element = (tag, className = "", text = "") => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.textContent = text;
    return made;
  };

  // Tables that are alternatives: the one that is chosen is shown.
  for (const select of document.querySelectorAll("[data-choice]")) {
    const tables = select.closest("section").querySelectorAll("table");
    const choose = () => {
      for (const table of tables) table.parentElement.hidden = table.caption.textContent !== select.value;
    };
    select.closest(".choice").hidden = false;
    select.addEventListener("change", choose);
    choose();
  }

  const data = JSON.parse($("data").textContent);
  if (!data) return;

  const CHUNK = 60; // rows that are made at a time
  const known = (value) => value !== null && value !== undefined;
  const candidates = data.lists.flatMap((list) => list[5]).map(
    ([text, reward, implicit, logp, source, temperature, tokens, draws]) =>
      ({ text: data.texts[text], reward, implicit, logp, source, temperature, tokens, draws }));
  let taken = 0;
  const lists = data.lists.map(([run, kind, iteration, qid, prompt, rows]) => {
    const mine = candidates.slice(taken, taken += rows.length);
    const rewards = mine.map((row) => row.reward).filter(known);
    return {
      run: data.runs[run], kind, iteration, qid, prompt: data.texts[prompt], candidates: mine, size: mine.length,
      places: [prompt, ...rows.map((row) => row[0])],
      best: rewards.length ? Math.max(...rewards) : null,
      mean: rewards.length ? rewards.reduce((sum, value) => sum + value, 0) / rewards.length : null,
      logp: mine.length ? mine[0].logp : null,
    };
  });

  // A column is whole numbers only if all of its values are.
  const digitsOf = (values) => (values.every((value) => !known(value) || Number.isInteger(value)) ? 0 : 3);
  const column = (key, label, from, hint = "") => ({
    key, label, hint, number: true, digits: digitsOf(from.map((row) => row[key])),
  });
  const LISTS = [
    { key: "prompt", label: "prompt" },
    { key: "run", label: "run" },
    { key: "kind", label: "lists" },
    column("iteration", "iteration", lists),
    column("size", "responses", lists, "different responses"),
    column("best", "best reward", lists),
    column("mean", "mean reward", lists, "over different responses"),
    column("logp", "log π of best", lists, "nats"),
  ];
  const RESPONSES = [
    { key: "text", label: "response" },
    column("rank", "rank", [], "by reward"),
    column("reward", "reward", candidates),
    column("implicit", "implicit reward", candidates, "log π − log π of iteration 0, nats"),
    column("logp", "log π", candidates, "nats"),
    column("source", "iteration", candidates, "the iteration it was sampled in"),
    column("temperature", "T", candidates, "temperature it was sampled at"),
    column("tokens", "tokens", candidates, "length"),
    column("draws", "draws", candidates, "how often it was sampled"),
  ];
  const written = (value, { number, digits }) =>
    !known(value) ? "–" : number ? value.toFixed(digits).replace("-", "−") : value;

  // What is missing comes last, whatever the direction.
  const sorted = (rows, { key, descending }) => {
    if (!key) return rows;
    const sign = descending ? -1 : 1;
    return [...rows].sort((one, other) => {
      const [a, b] = [one[key], other[key]];
      if (!known(a) || !known(b)) return known(b) - known(a);
      return sign * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    });
  };

  const withMarks = (target, text, term) => {
    target.textContent = "";
    const lower = text.toLowerCase();
    let start = 0;
    // Lower case may be longer than the text; then nothing is marked.
    for (let at; term && lower.length === text.length && (at = lower.indexOf(term, start)) >= 0; start = at + term.length) {
      target.append(text.slice(start, at), element("mark", "", text.slice(at, at + term.length)));
    }
    target.append(text.slice(start));
    return target;
  };

  const header = (table, columns, order, changed) => {
    const row = element("tr");
    for (const { key, label, hint, number } of columns) {
      const head = element("th", number ? "number" : "text");
      head.scope = "col";
      const button = element("button", "", label);
      button.type = "button";
      button.title = hint || "";
      head.append(button);
      head.dataset.key = key;
      button.addEventListener("click", () => {
        // numbers: the highest first; text: from the start of the alphabet
        order.descending = order.key === key ? !order.descending : Boolean(number);
        order.key = key;
        changed();
      });
      row.append(head);
    }
    table.tHead.replaceChildren(row);
  };
  const showOrder = (table, order) => {
    for (const head of table.tHead.rows[0].cells) {
      const mine = head.dataset.key === order.key;
      head.setAttribute("aria-sort", mine ? (order.descending ? "descending" : "ascending") : "none");
    }
  };

  // The lists that are found

  const lower = [];
  const lowerText = (place) => (lower[place] ??= data.texts[place].toLowerCase());
  const order = {};
  const term = () => $("search").value.trim().toLowerCase();
  let found = [];
  let made = 0;

  const listRow = (list) => {
    const row = element("tr");
    for (const head of LISTS) {
      if (head.key !== "prompt") {
        row.append(element("td", head.number ? "number" : "text", written(list[head.key], head)));
        continue;
      }
      const cell = element("td", "prompt");
      const button = element("button");
      button.type = "button";
      withMarks(button, list.prompt.slice(0, 300), term());
      cell.append(button);
      const inside = term() && !lowerText(list.places[0]).includes(term())
        && list.places.slice(1).find((place) => lowerText(place).includes(term()));
      if (known(inside) && inside !== false && inside !== "") {
        const at = Math.max(0, lowerText(inside).indexOf(term()) - 40);
        cell.append(withMarks(element("span", "hit"), (at ? "…" : "") + data.texts[inside].slice(at, at + 160), term()));
      }
      row.append(cell);
    }
    row.addEventListener("click", () => open(list));
    return row;
  };
  const more = () => {
    const rows = found.slice(made, made + CHUNK).map(listRow);
    made += rows.length;
    $("found").tBodies[0].append(...rows);
    end.hidden = made >= found.length;
  };
  const end = element("p");
  $("found").after(end);
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && more()).observe(end);

  const show = () => {
    const wanted = term();
    const matches = wanted ? data.texts.map((_, place) => lowerText(place).includes(wanted)) : null;
    const chosen = ["run", "kind", "iteration"].map((key) => [key, $(key).value]).filter(([, value]) => value !== "");
    found = sorted(
      lists.filter((list) => chosen.every(([key, value]) => String(list[key]) === value)
        && (!matches || list.places.some((place) => matches[place]))),
      order);
    made = 0;
    $("found").tBodies[0].replaceChildren();
    showOrder($("found"), order);
    const embedded = data.total > lists.length ? `; the page holds ${lists.length} of ${data.total} lists, spread evenly over runs and iterations` : "";
    $("status").textContent = `${found.length} of ${lists.length} lists${embedded}`;
    end.textContent = found.length ? "…" : "";
    more();
  };

  // The list that is open

  const dialog = $("list");
  const inside = {};
  let current = null;
  let term_ = "";

  const responseRow = (candidate) => {
    const row = element("tr");
    for (const head of RESPONSES) {
      const cell = element("td", head.number ? "number" : "model", head.number ? written(candidate[head.key], head) : "");
      if (!head.number) withMarks(cell, candidate.text, term_);
      cell.dataset.label = head.label;
      row.append(cell);
    }
    return row;
  };
  const siblings = (list) => lists.filter(
    (other) => other.run === list.run && other.kind === list.kind && other.qid === list.qid);
  const fill = () => {
    const all = $("which").value === "all";
    const rows = (all ? siblings(current).flatMap((list) => list.candidates) : current.candidates)
      .slice().sort((one, other) => known(other.reward) - known(one.reward) || (other.reward ?? 0) - (one.reward ?? 0))
      .map((candidate, rank) => ({ ...candidate, rank: rank + 1 }));
    showOrder($("responses"), inside);
    $("responses").tBodies[0].replaceChildren(...sorted(rows, inside).map(responseRow));
  };
  const open = (list) => {
    current = list;
    term_ = term();
    $("where").textContent = `${list.run} · ${list.kind} · ${list.qid}`;
    withMarks($("prompt"), list.prompt, term_);
    const choices = siblings(list).map((other) => String(other.iteration));
    // Held-out lists are the same responses in every iteration: put together they would only repeat.
    if (choices.length > 1 && list.kind === "pool") choices.push("all");
    $("which").replaceChildren(...choices.map((choice) => new Option(choice, choice)));
    $("which").value = String(list.iteration);
    $("previous").disabled = !neighbour(-1);
    $("next").disabled = !neighbour(1);
    fill();
    if (!dialog.open) {
      dialog.showModal();
      $("where").focus(); // so that the arrow keys go to the list, not into a choice
    }
    dialog.scrollTop = 0;
  };
  const neighbour = (step) => {
    const at = found.indexOf(current);
    return at < 0 ? undefined : found[at + step];
  };
  const go = (step) => {
    const next = neighbour(step);
    if (next) open(next);
  };
  $("which").addEventListener("change", () => {
    const other = siblings(current).find((list) => String(list.iteration) === $("which").value);
    if (other) open(other);
    else fill();
  });
  $("previous").addEventListener("click", () => go(-1));
  $("next").addEventListener("click", () => go(1));
  $("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  // Keys

  const typing = (target) => target.matches("input, select, textarea");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (dialog.open) {
      if (!typing(event.target) && event.key === "ArrowLeft") go(-1);
      if (!typing(event.target) && event.key === "ArrowRight") go(1);
      return;
    }
    if (event.key === "/" && !typing(event.target)) {
      event.preventDefault();
      $("search").focus();
      return;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("#found tbody tr");
    const first = event.target === $("search") && step === 1;
    if (!step || !(row || first)) return;
    event.preventDefault();
    if (row && step === 1 && !row.nextElementSibling) more();
    const next = first ? $("found").tBodies[0].rows[0] : step === 1 ? row.nextElementSibling : row.previousElementSibling;
    (next ? next.querySelector("button") : row && step === -1 ? $("search") : null)?.focus();
  });

  for (const key of ["run", "kind", "iteration"]) {
    for (const value of new Set(lists.map((list) => String(list[key])))) $(key).append(new Option(value, value));
    $(key).addEventListener("change", show);
  }
  let waiting = 0;
  $("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(show, 80);
  });
  header($("found"), LISTS, order, show);
  header($("responses"), RESPONSES, inside, fill);
  show();
})();
