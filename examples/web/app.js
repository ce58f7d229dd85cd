// What a person sees and does. Everything heavy is worker.js's; this file asks it, one request at a time.

const $ = (id) => document.getElementById(id);
const pictures = $("pictures"), stage = $("stage"), video = $("video");
const FAULTS = {
  no_face: "No face was found. Try a photo in which a face is larger, or translate the whole picture.",
  tiny_face: (faces) => `${faces} too few pixels for this model`,
  dark_face: (faces) => `${faces} too dark`,
  blurred_face: (faces) => `${faces} blurred`,
};
const CAMERA_ERRORS = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser's settings, or choose a photo.",
  NotFoundError: "No camera was found. Connect one, or choose a photo.",
  NotReadableError: "The camera cannot be read: another program may be using it. Close that, or choose a photo.",
};

let models = [], worker, picture, stream;
let pictureCount = 0, asking = false, again = false, allowGpu = true;
const kept = new Set(); // addresses that are in the cache
let rates = []; // when the last frames were shown
let wake = () => {}; // ends the wait for the camera's next frame

// --- what is shown

function say(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

function complain(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

function draw(figure, bitmap) {
  const canvas = figure.querySelector("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
}

function show(reply) {
  const { about, before, after, faults, count, scaled } = reply;
  const translated = count > 0;
  const processor = `processor, ${about.threads} thread${about.threads > 1 ? "s" : ""}`;
  $("device").textContent = about.gpu ? "WebGPU" : about.webgpu ? processor : `${processor} (no WebGPU)`;
  $("heatmap").disabled = !about.heatmap;
  $("no-heatmap").hidden = about.heatmap;
  if (!after) return say(`Ready. The model draws ${about.size} x ${about.size} pixels.`);
  if (before) draw($("before"), before);
  draw($("after"), after);
  // Without a face the photo is shown as it is, and nothing may call it a translation.
  const shown = !translated ? "Not translated" : $("heatmap").checked && about.heatmap ? "Translation with heatmap" : "Translation";
  $("after").querySelector("figcaption").textContent = shown;
  $("after").querySelector("canvas").ariaLabel = shown;
  pictures.classList.toggle("untranslated", !translated);
  document.querySelector("[data-do=save]").disabled = !translated;
  pictures.hidden = $("actions").hidden = false;
  if ($("empty").contains(document.activeElement)) document.querySelector("#actions button").focus(); // its place goes
  $("empty").hidden = true;
  $("time").textContent = `${Math.round(reply.time)} ms (model ${Math.round(reply.modelTime)} ms)`;
  say(report(count, faults, scaled));
}

function report(count, faults, scaled) {
  const what = settings().what === "whole" ? "The picture was translated." : `${many(count)} translated.`;
  const texts = faults.includes("no_face") ? [FAULTS.no_face] : [what];
  for (const name of new Set(faults.filter((fault) => fault !== "no_face"))) {
    const number = faults.filter((fault) => fault === name).length;
    texts.push(`Left as it is: ${FAULTS[name](`${number} face${number > 1 ? "s" : ""},`)}.`);
  }
  if (scaled) texts.push("The photo was scaled down to 16 megapixels.");
  return texts.join(" ");
}

function many(count) {
  return count === 0 ? "No face was" : count === 1 ? "1 face was" : `${count} faces were`;
}

function countFrame() {
  const now = performance.now();
  rates = [...rates.filter((then, index) => now - then < 3000 || index === rates.length - 1), now];
  if (rates.length > 1) {
    $("rate").textContent = `${((1000 * (rates.length - 1)) / (now - rates[0])).toFixed(1)} frames/s`;
  }
}

// --- asking the worker

function settings() {
  return {
    what: document.querySelector("[name=what]:checked").value,
    strength: $("strength").value / 100,
    heatmap: $("heatmap").checked,
  };
}

function ask(request, transfer) {
  worker ??= new Worker("worker.js");
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => (data.progress ? say(data.progress) : resolve(data));
    worker.onerror = (event) => {
      event.preventDefault();
      resolve({ error: `The page's worker could not run: ${event.message || "reload the page"}.`, broken: true });
    };
    worker.postMessage(request, transfer);
  });
}

// Ask for the picture as the settings are now; if they change meanwhile, ask again afterwards.
async function refresh() {
  complain("");
  again = true;
  if (asking) return;
  asking = true;
  stage.ariaBusy = "true";
  while (again || stream) {
    again = false;
    const live = Boolean(stream);
    const wanted = live ? await nextFrame() : picture;
    if (live && !wanted) continue; // the camera has just been stopped
    if (wanted?.frame) picture = { id: wanted.id }; // the worker has it: the last one stays when the camera stops
    else $("working").hidden = false;
    const model = models[$("model").value];
    const request = { model, picture: wanted, settings: settings(), allowGpu };
    const reply = await ask(request, wanted?.frame ? [wanted.frame] : []);
    if (reply.error) {
      if (reply.broken) {
        worker.terminate();
        worker = null;
        if (!picture?.file) picture = null; // it went with the worker
        if (allowGpu) {
          allowGpu = false; // perhaps it was the GPU
          again = true;
          continue;
        }
      }
      stop();
      say("");
      complain(reply.error);
      break;
    }
    if (wanted?.frame && picture?.id !== wanted.id) continue; // a photo was chosen meanwhile
    show(reply);
    if (stream) countFrame();
    else if (wanted?.frame) say("The camera is off.");
    if (reply.used.some((url) => !kept.has(url))) keep(reply.used).catch(() => {}); // no room: offline use is missing
  }
  asking = false;
  stage.ariaBusy = "false";
  $("working").hidden = true;
}

// --- photos

function choose(file) {
  if (!file || !models.length) return;
  stop();
  pictures.classList.remove("mirrored");
  picture = { id: ++pictureCount, file };
  refresh();
}

function save() {
  if (pictures.classList.contains("untranslated")) return;
  const canvas = $("after").querySelector("canvas");
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${(picture?.file?.name ?? "camera").replace(/\.\w+$/, "")}-translated.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
}

// --- the camera

async function startCamera() {
  complain("");
  if (!navigator.mediaDevices) return complain("The camera needs https, or http on localhost. Photos work.");
  say("Waiting for the camera…");
  let opened;
  try {
    opened = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  } catch (error) {
    say("");
    return complain(CAMERA_ERRORS[error.name] ?? `The camera cannot be used: ${error.message}. Choose a photo instead.`);
  }
  stop();
  const track = opened.getVideoTracks()[0];
  track.onended = () => {
    stop();
    complain("The camera was disconnected. Connect it, or choose a photo.");
  };
  video.srcObject = opened;
  await video.play();
  stream = opened;
  picture = null;
  rates = [];
  // A front camera is a mirror to whoever looks into it.
  pictures.classList.toggle("mirrored", track.getSettings().facingMode !== "environment");
  showCameraButtons();
  refresh();
}

function stop() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  wake();
  video.srcObject = null;
  $("rate").textContent = "–";
  showCameraButtons();
  say("The camera is off.");
}

function showCameraButtons() {
  const active = document.activeElement?.dataset.do;
  for (const button of document.querySelectorAll("#actions [data-do=camera]")) button.hidden = Boolean(stream);
  for (const button of document.querySelectorAll("[data-do=stop]")) button.hidden = !stream;
  if (stream) $("actions").hidden = false;
  const next = { camera: "stop", stop: "camera" }[active]; // the pressed button has gone: its place keeps the focus
  if (next) document.querySelector(`#actions [data-do=${next}]`).focus();
}

// The camera's next frame, or null once it is off.
async function nextFrame() {
  while (stream) {
    await new Promise((resolve) => {
      wake = resolve;
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(resolve);
      else requestAnimationFrame(resolve);
    });
    if (stream && !document.hidden && video.videoWidth) {
      return { id: ++pictureCount, frame: await createImageBitmap(video) };
    }
  }
  return null;
}

// --- offline: what this page used is kept, models that are no longer offered are not

async function keep(used) {
  if (!globalThis.caches) return;
  const own = performance.getEntriesByType("resource").map(({ name }) => name);
  const page = new URL("./", location).href;
  const cache = await caches.open("ugatit-web");
  for (const url of [page, new URL("manifest.webmanifest", page).href, ...own, ...used]) {
    if (!url.startsWith(page) || kept.has(url)) continue;
    if (!(await cache.match(url))) await cache.add(url);
    kept.add(url);
  }
  const offered = models.map(({ file }) => new URL(file, page).href);
  for (const { url } of await cache.keys()) {
    if (url.startsWith(`${page}models/`) && !offered.includes(url)) await cache.delete(url);
  }
}

// --- the controls

const actions = { choose: () => $("file").click(), camera: startCamera, stop, save };
for (const button of document.querySelectorAll("[data-do]")) button.onclick = actions[button.dataset.do];

$("file").onchange = () => {
  choose($("file").files[0]);
  $("file").value = ""; // the same photo may be chosen again
};
addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("drop");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) stage.classList.remove("drop");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("drop");
  choose(event.dataTransfer.files[0]);
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});

$("model").onchange = () => {
  const { label, licence } = models[$("model").value];
  document.title = document.querySelector("h1").textContent = label;
  $("licence").textContent = licence || "not stated";
  refresh();
};
$("strength").oninput = () => {
  document.querySelector("output").textContent = `${$("strength").value} %`;
  refresh();
};
$("heatmap").onchange = refresh;
for (const radio of document.querySelectorAll("[name=what]")) radio.onchange = refresh;
for (const radio of document.querySelectorAll("[name=view]")) {
  radio.onchange = () => {
    for (const view of ["over", "beside"]) pictures.classList.toggle(view, view === radio.value);
  };
}

$("split").oninput = () => pictures.style.setProperty("--split", `${$("split").value}%`);
function slide(event) {
  if (!pictures.classList.contains("over") || (event.type === "pointermove" && !event.buttons)) return;
  const { left, width } = pictures.getBoundingClientRect();
  $("split").value = (100 * (event.clientX - left)) / width;
  $("split").oninput();
}
pictures.onpointerdown = (event) => {
  pictures.setPointerCapture(event.pointerId);
  slide(event);
};
pictures.onpointermove = slide;

// --- begin

async function begin() {
  pictures.classList.add("over");
  navigator.serviceWorker?.register("sw.js").catch(() => {}); // without it only offline use is missing
  if (!globalThis.Worker || !globalThis.OffscreenCanvas) {
    throw new Error("This browser is too old for this page: it has no OffscreenCanvas. Use a current one.");
  }
  const response = await fetch("models.json").catch(() => null);
  models = response?.ok ? await response.json() : [];
  if (!models.length) {
    throw new Error("There is no model here: models.json is missing or empty. Start the page with serve.py --model FILE.");
  }
  $("model").replaceChildren(...models.map(({ label, kind }, index) => new Option([label, kind].filter(Boolean).join(", "), index)));
  $("model").onchange();
}

begin().catch((error) => {
  for (const button of document.querySelectorAll("[data-do]")) button.disabled = true;
  say("");
  complain(error.message);
});
