// Makes the forms and the provisioning page smoother. Without it everything works all the same.

const PAUSES = [1, 2, 4, 8, 16];
const LONGEST_WAIT = 35_000;

/* Words beside fields */

const WORDS = {
  missing: "This is needed.",
  email: "This is not an email address such as name@example.com.",
  url: "This is not a whole address. It begins with https://",
  "#": "Give the colour as #rrggbb.",
  short: (length) => `Use at least ${length} characters.`,
};

function fault(field) {
  const { value, validity } = field;
  if (validity.valueMissing || (field.required && !value.trim())) return WORDS.missing;
  if (!value) return "";
  if (field.minLength > 0 && value.length < field.minLength) return WORDS.short(field.minLength);
  if (validity.typeMismatch) return WORDS[field.type] ?? field.validationMessage;
  if (validity.patternMismatch) return WORDS["#"];
  return validity.valid ? "" : field.validationMessage;
}

function tell(field, text, kind = "error") {
  const said = document.getElementById(`${field.id}-said`);
  if (!said) return;
  said.textContent = text;
  said.className = text ? `said ${kind}` : "said";
  if (text && kind === "error") field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

function check(form) {
  const wrong = [...form.elements].filter((field) => {
    if (!field.name || !field.willValidate || field.type === "submit") return false;
    const text = fault(field);
    if (text) tell(field, text);
    return text;
  });
  wrong[0]?.focus();
  return wrong.length === 0;
}

document.addEventListener("focusout", ({ target }) => {
  if (target.form?.matches("[data-enhance]") && target.value && target.type !== "submit") {
    const text = fault(target);
    if (text) tell(target, text);
  }
});

document.addEventListener("input", ({ target }) => {
  if (!target.form?.matches("[data-enhance]")) return;
  if (target.getAttribute("aria-invalid") && !fault(target)) tell(target, "");
  keep(target.form);
});

/* What was typed survives a reload, in this tab, for this sign-up, and as long as the server knows nothing newer */

const drawer = (form) => `draft:${form.dataset.step}:${form.dataset.tenant ?? ""}`;
const served = (field) => (field.options ? [...field.options].find((option) => option.defaultSelected)?.value : field.defaultValue) ?? "";

function keep(form) {
  if (!form.dataset.step) return;
  const fields = [...form.elements].filter(({ name, type }) => name && !["hidden", "password", "submit"].includes(type) && name !== "password");
  sessionStorage.setItem(drawer(form), JSON.stringify(fields.map((field) => [field.name, field.value, served(field)])));
}

function restore(form) {
  const typed = JSON.parse(sessionStorage.getItem(drawer(form)) ?? "[]");
  const chosen = new URLSearchParams(location.search);
  for (const [name, value, before] of typed) {
    const field = form.elements[name];
    if (field && !chosen.has(name) && served(field) === before) field.value = value;
  }
}

function forget() {
  for (const name of Object.keys(sessionStorage)) if (name.startsWith("draft:")) sessionStorage.removeItem(name);
}

/* Waiting, in view */

const CLOCK = '<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6.5"/><path d="M8 4.5V8l2.3 1.6"/></svg>';

let waiting;

/** Shows why nothing happens and counts down; ends early at a press of the button, or when the network is back. */
function wait(put, seconds, words) {
  const element = (name, properties) => Object.assign(document.createElement(name), properties);
  const notice = element("div", { id: "connection", className: "notice warn", role: "status" });
  const button = element("button", { className: "button quiet", type: "button", textContent: seconds ? "Try now" : "Retry" });
  // Not read out at every second.
  const countdown = element("p", { className: "number", ariaHidden: "true" });
  const actions = element("p", { className: "actions" });
  actions.append(button);
  notice.append(
    element("h2", { textContent: words.heading }),
    element("p", { textContent: `${words.text} ${seconds ? "We try again by ourselves." : words.end}` }),
    countdown,
    actions,
  );
  notice.insertAdjacentHTML("afterbegin", CLOCK);
  // One wait at a time; what waited before tries again with this one.
  waiting?.();
  put(notice);
  notice.scrollIntoView({ block: "nearest" });
  return new Promise((resolve) => {
    let left = seconds;
    const show = () => { countdown.textContent = seconds ? `In ${left} s` : ""; };
    const done = () => {
      clearInterval(timer);
      removeEventListener("online", done);
      notice.remove();
      waiting = undefined;
      resolve();
    };
    waiting = done;
    const timer = seconds ? setInterval(() => { left -= 1; if (left > 0) show(); else done(); }, 1000) : undefined;
    show();
    button.addEventListener("click", done);
    addEventListener("online", done);
    if (!seconds) button.focus();
  });
}

/** Repeats what may fail until it does not: with growing pauses first, then at a press of the button. */
async function persist(attempt, put, words) {
  for (let failed = 0; ; failed += 1) {
    const done = await attempt();
    if (done) return done;
    const heading = navigator.onLine ? words.heading : "You seem to be offline";
    await wait(put, PAUSES[failed] ?? 0, { ...words, heading });
    if (failed >= PAUSES.length) failed = -1;
  }
}

/** An answer that is worth showing: a page of ours, and a closed door rather than one that says "try again". */
const isFinal = (answer) => answer?.html.includes('id="main"') && (answer.status < 500 || answer.html.includes("data-closed"));

async function fetched(address, options) {
  try {
    const answer = await fetch(address, { ...options, headers: { Accept: "text/html" }, signal: AbortSignal.timeout(LONGEST_WAIT) });
    return { url: answer.url, redirected: answer.redirected, status: answer.status, html: await answer.text() };
  } catch {
    return undefined;
  }
}

/* Forms */

function busy(form, submitter, is) {
  form.toggleAttribute("data-sending", is);
  const buttons = [...form.querySelectorAll("button:not([type=button])")];
  for (const button of buttons) button.setAttribute("aria-disabled", String(is));
  const pressed = submitter ?? buttons[0];
  for (const button of is ? [pressed] : buttons) button?.setAttribute("aria-busy", String(is));
  if (is && pressed?.dataset.busy) announce(pressed.dataset.busy);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.hasAttribute("data-sending")) return event.preventDefault();
  // Whoever starts over wants nothing of what was typed before.
  if (form.matches("[action$=start-over]")) forget();
  if (!form.matches("[data-enhance]")) return busy(form, event.submitter, true);
  event.preventDefault();
  if (event.submitter?.formNoValidate || check(form)) deliver(form, event.submitter);
});

async function deliver(form, submitter) {
  busy(form, submitter, true);
  const words = {
    heading: "That did not reach us",
    text: "What you typed is safe on this page, and nothing is done twice.",
    end: "Check your connection, then try once more.",
  };
  const answer = await persist(async () => {
    // Read each time: what is changed while it waits goes with it.
    const answer = await fetched(form.action, { method: "POST", body: new URLSearchParams(new FormData(form, submitter)) });
    return isFinal(answer) ? answer : undefined;
  }, (notice) => (form.querySelector(".actions") ?? form.querySelector("button")).before(notice), words);
  if (!answer.redirected) {
    show(answer.html);
    (document.getElementById("errors") ?? document.getElementById("main")).focus();
    return;
  }
  const { pathname } = new URL(answer.url);
  if (pathname === "/onboarding/progress") sessionStorage.setItem("onward", "1");
  // A step that leads back to the first one was not done: its token had expired.
  if (pathname !== "/onboarding") sessionStorage.removeItem(drawer(form));
  if (pathname !== location.pathname) return location.assign(answer.url);
  show(answer.html);
  // The button that had the focus is gone.
  document.getElementById("main").focus();
}

// A page that comes back out of the browser's memory is not sending any more.
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  for (const form of document.forms) busy(form, undefined, false);
});

/* Changing the page in place */

function announce(text) {
  const live = document.getElementById("live");
  if (live && live.textContent !== text) live.textContent = text;
}

function show(html) {
  const next = new DOMParser().parseFromString(html, "text/html");
  const passwords = [...document.querySelectorAll("input[type=password], input#password")].map(({ id, value }) => [id, value]);
  document.title = next.title;
  const [old, fresh] = [document.querySelector("[data-swap]"), next.querySelector("[data-swap]")];
  if (old && fresh) old.replaceWith(fresh);
  else document.getElementById("main").replaceChildren(...next.getElementById("main").childNodes);
  for (const [id, value] of passwords) {
    const field = document.getElementById(id);
    if (!field || field.value || !value) continue;
    field.value = value;
    document.getElementById(`${id}-hint`)?.replaceChildren("What you typed is still here.");
  }
  arrive();
}

/* Step 1: the address */

let asking;
let pause;

function lookUp(name, slug) {
  clearTimeout(pause);
  pause = setTimeout(async () => {
    asking?.abort();
    asking = new AbortController();
    const query = new URLSearchParams({ name: name.value, slug: slug.value });
    const preview = document.getElementById("address-preview");
    try {
      const found = await (await fetch(`/onboarding/address?${query}`, { signal: asking.signal })).json();
      // The page may have changed meanwhile.
      if (!slug.isConnected) return;
      const suffix = document.getElementById("slug-suffix").textContent;
      if (found.slug && (name.value || slug.value)) preview.textContent = found.slug + suffix;
      if (!slug.value) tell(slug, name.value && found.slug ? `You get ${found.slug}${suffix}` : "", "good");
      else if (found.available) tell(slug, `${found.slug}${suffix} is free.`, "good");
      else tell(slug, found.message);
    } catch {
      // A preview is not worth a complaint; the form itself will tell.
    }
  }, 250);
}

function basics(form) {
  const { tenant_name: name, slug } = form.elements;
  for (const field of [name, slug]) field.addEventListener("input", () => lookUp(name, slug));
  if (name.value && !slug.getAttribute("aria-invalid")) lookUp(name, slug);
  const toggle = form.querySelector("[data-toggle-password]");
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const { password } = form.elements;
    const visible = password.type === "password";
    password.type = visible ? "text" : "password";
    toggle.textContent = visible ? "Hide" : "Show";
    toggle.setAttribute("aria-pressed", String(visible));
  });
}

/* Step 2: the colours */

/** Dark or light text, whichever contrasts more with a colour (WCAG 2.2, relative luminance). */
function textOn(color) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const c = parseInt(color.slice(at, at + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  return 1.05 / light >= light / 0.05 ? "#ffffff" : "#000000";
}

function branding(form) {
  const preview = document.getElementById("preview");
  const gate = preview.querySelector("[data-preview=logo]");
  const letter = gate.textContent;
  const paint = () => {
    for (const [name, property] of [["primary_color", "tenant"], ["secondary_color", "tenant-2"]]) {
      const color = form.elements[name].value;
      if (!/^#[0-9a-f]{6}$/i.test(color)) continue;
      preview.style.setProperty(`--${property}`, color);
      preview.style.setProperty(`--on-${property}`, textOn(color));
      form.querySelector(`[data-swatch-for=${name}]`).value = color.toLowerCase();
    }
  };
  // Not at each letter: half an address may be somebody else's.
  const load = () => {
    const logo = form.elements.logo_url;
    if (logo.value.startsWith("https://") && logo.validity.valid) {
      const image = new Image();
      image.alt = "";
      image.onload = () => gate.replaceChildren(image);
      image.onerror = () => gate.replaceChildren(letter);
      image.src = logo.value;
    } else gate.replaceChildren(letter);
  };
  for (const swatch of form.querySelectorAll("[data-swatch-for]")) {
    swatch.hidden = false;
    swatch.addEventListener("input", (event) => {
      event.stopPropagation();
      const field = form.elements[swatch.dataset.swatchFor];
      field.value = swatch.value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }
  form.addEventListener("input", paint);
  form.elements.logo_url.addEventListener("change", load);
  paint();
  load();
}

/* Provisioning, as it happens */

const progress = () => document.querySelector("[data-progress]");
const isOver = () => !progress() || ["complete", "failed"].includes(progress().dataset.progress);
let watching = false;

async function watch() {
  if (watching || isOver()) return;
  watching = true;
  const source = new EventSource("/onboarding/progress/events");
  let fresh = false;
  let heard;
  for (const kind of ["step", "status"]) source.addEventListener(kind, () => { fresh = true; heard?.(); });
  const words = { heading: "We cannot be reached from here", text: "The set-up goes on without this page.", end: "Check your connection, then look again." };
  while (!isOver()) {
    // Events say at once when to look; where none come, it is looked now and then.
    const patience = source.readyState === EventSource.OPEN ? 5000 : 1000;
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, patience);
      heard = () => { clearTimeout(timer); setTimeout(resolve, 50); };
      if (fresh) heard();
    });
    fresh = false;
    const answer = await persist(async () => {
      const answer = await fetched("/onboarding/progress");
      return isFinal(answer) ? answer : undefined;
    }, (notice) => progress().querySelector(".main").prepend(notice), words);
    if (new URL(answer.url).pathname !== location.pathname) {
      location.assign(answer.url);
      break;
    }
    show(answer.html);
  }
  source.close();
  watching = false;
  if (progress()?.dataset.progress === "failed") document.getElementById("errors")?.focus();
}

/** Whoever has just come through the wizard is led on, unless they do something else. */
function onward() {
  const link = document.querySelector("[data-onward]");
  if (!link || !sessionStorage.getItem("onward")) return;
  sessionStorage.removeItem("onward");
  const timer = setTimeout(() => location.assign(link.href), 2000);
  for (const event of ["pointerdown", "keydown"]) addEventListener(event, () => clearTimeout(timer), { once: true });
}

/* What every fresh piece of page needs */

function arrive() {
  document.getElementById("main").tabIndex = -1;
  const at = progress();
  if (at) {
    announce(at.dataset.news);
    forget();
    onward();
    watch();
  }
  for (const form of document.querySelectorAll("form[data-step]")) {
    if (!document.getElementById("errors")) restore(form);
    if (form.dataset.step === "basics") basics(form);
    if (form.dataset.step === "branding") branding(form);
  }
}

arrive();
