// The operator's page: one module, no build step, nothing from elsewhere.

const VIEWS = ["input", "alpha", "cutout", "composite", "trimap"];
const LANGUAGES = ["en", "de"];
const COUNTDOWN = 5; // seconds to leave the view
const HISTORY = 120; // points of a plot
const CAPTURING = 3;
const NO_SCENE = 2;
const MATTING = 5;
const GONE = 4000; // milliseconds without a status

const $ = (id) => document.getElementById(id);
let texts = {};
let statuses = {};
let current = "";
let view = localStorage.getItem("view") || "composite";
let counting = null;
let sceneInUse = null;
const history = { rate: [], latency: [], dropped: [] };
let before = null;

function text(key, values = {}) {
  return Object.entries(values).reduce(
    (done, [name, value]) => done.replace(`{${name}}`, value),
    texts[key] ?? key,
  );
}

// ---- requests ------------------------------------------------------------------------------

async function request(path, { method = "POST", body = {}, raw = null } = {}) {
  const options = { method, headers: {} };
  if (raw) options.body = raw;
  else if (method !== "GET") {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const join = path.includes("?") ? "&" : "?";
  let response;
  try {
    response = await fetch(`${path}${join}node=${encodeURIComponent(current)}`, options);
  } catch {
    return { success: false, message: text("lost") };
  }
  if (response.status === 401) {
    await logIn();
    return request(path, { method, body, raw });
  }
  if (response.headers.get("Content-Type")?.startsWith("image/")) {
    return { success: true, blob: await response.blob() };
  }
  try {
    return await response.json();
  } catch {
    return { success: false, message: `${response.status} ${response.statusText}` };
  }
}

let loggingIn = null;
function logIn() {
  loggingIn ??= (async () => {
    for (;;) {
      const token = await ask(text("token_hint"), { label: text("token"), password: true });
      if (token === null) continue;
      const response = await fetch("/api/login", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token }),
      });
      if (response.ok) break;
    }
    loggingIn = null;
    listen();
  })();
  return loggingIn;
}

// ---- dialogs -------------------------------------------------------------------------------

// Resolves to the text of its field, true without one, or null where the answer is no.
function ask(message, { picture = null, label = null, value = "", password = false, yes = "ok", no = true } = {}) {
  const dialog = $("dialog");
  $("dialog-text").textContent = message;
  $("dialog-picture").hidden = !picture;
  if (picture) {
    $("dialog-picture").src = picture;
    $("dialog-picture").alt = message;
  }
  $("dialog-field").hidden = label === null;
  $("dialog-label").textContent = label ?? "";
  $("dialog-input").type = password ? "password" : "text";
  $("dialog-input").value = value;
  $("dialog-yes").textContent = text(yes);
  $("dialog-no").hidden = !no;
  if (dialog.open) dialog.close("no");
  return new Promise((resolve) => {
    dialog.onclose = () => {
      const agreed = dialog.returnValue === "yes";
      resolve(agreed ? (label === null ? true : $("dialog-input").value.trim()) : null);
    };
    dialog.returnValue = "no";
    dialog.showModal();
    (label === null ? $("dialog-yes") : $("dialog-input")).focus();
  });
}

const tell = (message, picture = null) => ask(message, { picture, no: false });

async function act(path, body, always = false) {
  const answer = await request(path, { body });
  if (!answer.success || always) await tell(answer.message, answer.picture);
  return answer;
}

// ---- live picture --------------------------------------------------------------------------

function showViews() {
  const group = $("views");
  group.replaceChildren();
  VIEWS.forEach((name, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "radio");
    button.dataset.view = name;
    button.textContent = text(`view_${name}`);
    button.setAttribute("aria-checked", String(name === view));
    button.tabIndex = name === view ? 0 : -1;
    button.onclick = () => choose(name);
    button.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      choose(VIEWS[(number + step + VIEWS.length) % VIEWS.length]);
      group.querySelector("[aria-checked=true]").focus();
    };
    group.append(button);
  });
}

function choose(name) {
  view = name;
  localStorage.setItem("view", name);
  showViews();
  play();
}

function play() {
  const image = $("picture");
  $("screen").classList.toggle("checkers", view === "cutout");
  image.hidden = true;
  $("no-picture").hidden = false;
  if (!current) {
    image.removeAttribute("src");
    return;
  }
  image.alt = `${text("live")}: ${text(`view_${view}`)}`;
  image.onload = () => {
    image.hidden = false;
    $("no-picture").hidden = true;
    $("screen").style.aspectRatio = `${image.naturalWidth} / ${image.naturalHeight}`;
  };
  image.onerror = () => setTimeout(() => image.src && play(), 2000);
  image.src = `/api/live?node=${encodeURIComponent(current)}&view=${view}&at=${Date.now()}`;
}

// ---- state ---------------------------------------------------------------------------------

function listen() {
  const source = new EventSource("/api/events");
  source.onmessage = (event) => {
    statuses = JSON.parse(event.data);
    showNodes();
    showState();
  };
  source.onerror = async () => {
    $("reason").textContent = text("lost");
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    // A refused stream tells no status code; a request does.
    await request("/api/scenes", { method: "GET" });
    setTimeout(listen, 2000);
  };
}

function showNodes() {
  const names = Object.keys(statuses).sort();
  const nav = $("nodes");
  if (!names.includes(current)) {
    current = names[0] ?? "";
    Object.values(history).forEach((points) => points.splice(0));
    before = null;
    sceneInUse = null;
    play();
  }
  const known = [...nav.children].map((tab) => tab.dataset.node);
  if (known.join() !== names.join()) {
    nav.replaceChildren(
      ...names.map((name) => {
        const tab = document.createElement("button");
        tab.type = "button";
        tab.setAttribute("role", "tab");
        tab.dataset.node = name;
        tab.textContent = name;
        tab.onclick = () => {
          current = name;
          Object.values(history).forEach((points) => points.splice(0));
          before = sceneInUse = null;
          showNodes();
          showState();
          play();
        };
        return tab;
      }),
    );
  }
  for (const tab of nav.children) {
    tab.setAttribute("aria-selected", String(tab.dataset.node === current));
  }
  nav.hidden = names.length < 2;
}

function showState() {
  const status = statuses[current];
  const there = status && "state" in status;
  $("controls").inert = !there;
  if (!status) {
    $("state").textContent = text("no_nodes");
    $("reason").textContent = "";
    $("activity").hidden = true;
    showMoved(null);
    return;
  }
  const lost = status.age_ms > GONE;
  setText($("state"), there ? `${text(`state_${status.state}`)}${status.scene ? `: ${status.scene}` : ""}` : text("no_picture"));
  setText($("reason"), lost ? text("gone") : reasonOf(status));
  $("activity").hidden = !status.activity;
  setText($("activity-text"), status.activity ?? "");
  $("progress").value = status.progress ?? 0;
  const capturing = status.state === CAPTURING;
  $("cancel-capture").hidden = !capturing && counting === null;
  $("cancel-fit").hidden = !status.fitting;
  document.querySelector("#capture [type=submit]").disabled = capturing || counting !== null;
  showMoved(there && status.state === MATTING ? status.moved : null);
  if (there) plot(status);
  const use = `${status.scene_id}`;
  if (use !== sceneInUse) {
    sceneInUse = use;
    showScenes();
  }
}

// The node's words for who has a terminal name a service instead of the button.
function reasonOf(status) {
  const first = status.state === NO_SCENE && status.reason.startsWith("no background yet");
  return first ? text("capture_first") : (status.reason ?? "");
}

// A status region is read out at each assignment, changed or not.
function setText(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

// ---- figures -------------------------------------------------------------------------------

function plot(status) {
  const now = performance.now();
  if (before && now - before.at < 400) return;
  const seconds = before ? (now - before.at) / 1000 : 1;
  const skipped = before ? Math.max(0, status.frames_dropped - before.dropped) / seconds : 0;
  before = { at: now, dropped: status.frames_dropped };
  const values = { rate: status.frame_rate, latency: 1000 * status.latency, dropped: skipped };
  const shown = {
    rate: values.rate.toFixed(1),
    latency: text("ms", { value: values.latency.toFixed(0) }),
    dropped: values.dropped.toFixed(1),
  };
  for (const [name, points] of Object.entries(history)) {
    points.push(Number.isFinite(values[name]) ? values[name] : 0);
    points.splice(0, points.length - HISTORY);
    setText($(`figure-${name}`), shown[name]);
    draw($(`plot-${name}`), points);
  }
}

function showFigures() {
  $("figures").replaceChildren(
    ...Object.keys(history).map((name) => {
      const box = document.createElement("div");
      const title = document.createElement("dt");
      const value = document.createElement("dd");
      const canvas = document.createElement("canvas");
      title.textContent = text(name);
      value.id = `figure-${name}`;
      value.textContent = "–";
      canvas.id = `plot-${name}`;
      canvas.setAttribute("aria-hidden", "true");
      const plotted = document.createElement("dd");
      plotted.append(canvas);
      box.append(title, value, plotted);
      return box;
    }),
  );
}

function draw(canvas, points) {
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  const most = Math.max(1, ...points);
  context.beginPath();
  points.forEach((point, number) => {
    const x = (width * (number + HISTORY - points.length)) / (HISTORY - 1);
    const y = height - 2 - ((height - 4) * point) / most;
    if (number) context.lineTo(x, y);
    else context.moveTo(x, y);
  });
  context.strokeStyle = getComputedStyle(canvas).color;
  context.lineWidth = 2 * scale;
  context.stroke();
}

// ---- capture -------------------------------------------------------------------------------

$("capture").onsubmit = async (event) => {
  event.preventDefault();
  if (counting !== null) return;
  const scene = $("scene-name").value.trim();
  const fit = $("with-fit").checked;
  const node = current;
  if (!(await countDown()) || node !== current) return;
  const answer = await act("/api/capture", { scene, fit });
  if (answer.success) {
    if (view === "input") choose("composite");
    showScenes();
  }
};

function countDown() {
  const box = $("countdown");
  return new Promise((resolve) => {
    let left = COUNTDOWN;
    const end = (done) => {
      clearInterval(counting);
      counting = null;
      box.hidden = true;
      showState();
      resolve(done);
    };
    const show = () => {
      box.textContent = String(left);
      box.setAttribute("aria-label", `${text("leave")}: ${left}`);
    };
    counting = setInterval(() => {
      left -= 1;
      if (left) show();
      else end(true);
    }, 1000);
    $("cancel-capture").onclick = () => (counting === null ? act("/api/cancel_capture") : end(false));
    box.hidden = false;
    show();
    showState();
  });
}

$("cancel-capture").onclick = () => act("/api/cancel_capture");
$("cancel-fit").onclick = () => act("/api/cancel_fit");

$("still").onclick = async () => {
  const button = $("still");
  button.disabled = true;
  button.textContent = text("still_works");
  const answer = await request("/api/still");
  button.disabled = false;
  button.textContent = text("still");
  if (!answer.success) return tell(answer.message);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(answer.blob);
  link.download = "still.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
};

// ---- what was moved ------------------------------------------------------------------------

// null: there is no scene in which something could be moved.
function showMoved(things) {
  $("moved").hidden = things === null;
  things ??= [];
  $("nothing-moved").hidden = things.length > 0;
  const [list, marks] = [$("things"), $("marks")];
  const { naturalWidth, naturalHeight } = $("picture");
  marks.setAttribute("viewBox", `0 0 ${naturalWidth || 1} ${naturalHeight || 1}`);
  // Rows stay where they are, or the one that has the focus would lose it with each status.
  while (list.children.length > things.length) list.lastChild.remove();
  while (list.children.length < things.length) list.append(thingRow());
  while (marks.children.length > things.length) marks.lastChild.remove();
  while (marks.children.length < things.length) {
    marks.append(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
  }
  things.forEach((thing, number) => {
    const row = list.children[number];
    row.thing = thing;
    const about = [text(thing.kind === "put down" ? "put_down" : "taken_away")];
    if (thing.area) about.push(text("square_metres", { value: thing.area.toFixed(2) }));
    if (thing.persons_size) about.push(text("persons_size"));
    setText(row.firstChild, about.join(" · "));
    setText(row.lastChild, text("absorb"));
    row.lastChild.setAttribute("aria-label", `${text("absorb")}: ${about.join(", ")}`);
    ["x", "y", "width", "height"].forEach((name, at) => {
      marks.children[number].setAttribute(name, thing.box[at]);
    });
  });
}

function thingRow() {
  const row = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.onclick = () => act("/api/absorb", { region: row.thing.box });
  row.append(document.createElement("span"), button);
  return row;
}

$("undo-absorb").onclick = () => act("/api/undo_absorb");

// ---- backdrop ------------------------------------------------------------------------------

const form = $("backdrop");

function backdrop(kind) {
  form.elements.kind.value = kind;
  if (kind === "color") {
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt($("color").value.slice(at, at + 2), 16));
    return act("/api/backdrop", { kind, color: [red, green, blue] });
  }
  if (kind === "blur") return act("/api/backdrop", { kind, strength: Number($("blur").value) });
  if (kind === "none") return act("/api/backdrop", { kind });
  return Promise.resolve();
}

form.onsubmit = (event) => event.preventDefault();
for (const radio of form.elements.kind) {
  radio.onchange = () => (radio.value === "picture" ? $("file").click() : backdrop(radio.value));
}
$("color").onchange = () => backdrop("color");
$("blur").onchange = () => backdrop("blur");

async function bring(file) {
  if (!file) return;
  const answer = await request("/api/backdrop/picture", { method: "PUT", raw: file });
  if (answer.success) form.elements.kind.value = "picture";
  else await tell(answer.message);
}

$("file").onchange = () => {
  bring($("file").files[0]);
  $("file").value = "";
};
$("drop").onkeydown = (event) => {
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    $("file").click();
  }
};
$("drop").ondragover = (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
};
$("drop").ondragleave = () => $("drop").classList.remove("over");
$("drop").ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  bring(event.dataTransfer.files[0]);
};
// A picture that misses its place would take the page's.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());

// ---- scenes --------------------------------------------------------------------------------

async function showScenes() {
  if (!current) return;
  const scenes = await request("/api/scenes", { method: "GET" });
  if (!Array.isArray(scenes)) return;
  $("no-scenes").hidden = scenes.length > 0;
  $("scenes").replaceChildren(...scenes.map(sceneRow));
}

function sceneRow(scene) {
  const row = document.createElement("li");
  const picture = document.createElement(scene.thumbnail ? "img" : "span");
  if (scene.thumbnail) {
    picture.src = scene.thumbnail;
    picture.alt = "";
  } else picture.className = "blank";
  const words = document.createElement("div");
  const name = document.createElement("strong");
  name.textContent = scene.name;
  const details = document.createElement("div");
  details.className = "soft";
  const about = [`${scene.width}×${scene.height}`, scene.captured_at && new Date(scene.captured_at).toLocaleString(document.documentElement.lang)];
  if (scene.fitted) about.push(text("fitted"));
  if (scene.loaded) about.push(text("in_use"));
  details.textContent = scene.problem || about.filter(Boolean).join(" · ");
  words.append(name, details);
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  const button = (key, action) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text(key);
    made.setAttribute("aria-label", `${text(key)}: ${scene.name}`);
    made.onclick = action;
    buttons.append(made);
    return made;
  };
  button("load", async () => {
    await act("/api/load", { scene: scene.name });
    showScenes();
  }).disabled = scene.loaded || Boolean(scene.problem);
  button("rename", async () => {
    const name = await ask(scene.name, { label: text("new_name"), value: scene.name });
    if (name === null || name === scene.name) return;
    await act("/api/rename", { scene: scene.name, name });
    showScenes();
  });
  button("delete", async () => {
    const sure = await ask(text("really_delete", { scene: scene.name }), { yes: "delete" });
    if (!sure) return;
    await act("/api/delete", { scene: scene.name });
    showScenes();
  });
  row.append(picture, words, buttons);
  return row;
}

// ---- language ------------------------------------------------------------------------------

async function speak(language) {
  texts = await (await fetch(`/web/texts/${language}.json`)).json();
  document.documentElement.lang = language;
  localStorage.setItem("language", language);
  document.title = text("title");
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = text(element.dataset.text);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
  }
  $("scene-name").title = text("scene_rule");
  showViews();
  showFigures();
  showState();
  showScenes();
}

async function start() {
  const wanted = [localStorage.getItem("language"), ...navigator.languages.map((l) => l.slice(0, 2))];
  const language = wanted.find((l) => LANGUAGES.includes(l)) ?? "en";
  for (const code of LANGUAGES) {
    const { name } = await (await fetch(`/web/texts/${code}.json`)).json();
    $("language").append(new Option(name, code, false, code === language));
  }
  $("language").onchange = () => speak($("language").value);
  await speak(language);
  listen();
}

start();
