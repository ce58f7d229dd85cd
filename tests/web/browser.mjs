// Uses the page as a person would, in headless Chromium. test_page.py names a scenario, and judges what it prints.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const { chromium } = createRequire(new URL("../../examples/web/", import.meta.url))("playwright-core");
const wanted = JSON.parse(process.argv[2]);
const FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--ignore-gpu-blocklist"];

const outside = [], problems = [];
let browser;

// A page on which every request to another host, and every error of the page, is noted.
async function open({ url = wanted.url, start = url, flags = [], context: options = {}, before = async () => {} } = {}) {
  browser ??= await chromium.launch({ executablePath: wanted.chromium, args: ["--no-sandbox", ...flags] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  const local = (address) => address.startsWith(url) || address.startsWith("blob:");
  context.on("request", (request) => local(request.url()) || outside.push(request.url()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => /Content Security Policy|Refused/.test(message.text()) && problems.push(message.text()));
  await before(page, context);
  await page.goto(start);
  return page;
}

// What the page says, once it says something that matches.
async function said(page, pattern) {
  const words = () => page.evaluate(() => ["status", "error"].map((id) => document.getElementById(id).textContent).join("|"));
  for (const end = Date.now() + 90_000; Date.now() < end; await page.waitForTimeout(20)) {
    if (pattern.test(await words())) return words();
  }
  throw new Error(`The page never said ${pattern}; it says: ${await words()}. ${problems}`);
}

const ready = (page) => said(page, /Ready/);

async function translate(page, file = wanted.photo) {
  await page.setInputFiles("#file", file);
  return settled(page);
}

// The page's words after it has answered all requests.
async function settled(page) {
  await page.waitForFunction(() => document.getElementById("stage").ariaBusy !== "true", null, { timeout: 120_000 });
  return (await said(page, /./)).replace(/^\||\|$/g, "");
}

async function canvas(page, figure, path) {
  const address = await page.evaluate(
    (figure) =>
      new Promise((resolve) =>
        document.querySelector(`#${figure} canvas`).toBlob((blob) => {
          const reader = new FileReader();
          reader.onload = () => resolve(reader.result);
          reader.readAsDataURL(blob);
        }),
      ),
    figure,
  );
  writeFileSync(path, Buffer.from(address.split(",")[1], "base64"));
}

const text = (page, selector) => page.textContent(selector);

// What is offered with the picture: its labels, and whether it can be compared and saved.
const shown = (page) =>
  page.evaluate(() => ({
    title: [document.title, document.querySelector("h1").textContent],
    label: document.querySelector("#after figcaption").textContent,
    canvas: document.querySelector("#after canvas").ariaLabel,
    original: document.getElementById("before").checkVisibility(),
    slider: document.getElementById("split").checkVisibility(),
    save: !document.querySelector("[data-do=save]").disabled,
  }));

const scenarios = {
  // Translates photos with all kinds of settings; writes the canvas after each.
  async upload() {
    const page = await open({ flags: wanted.webgpu ? WEBGPU : [] });
    const found = { ready: await ready(page), said: [], shown: [], device: null };
    for (const { photo, out, model = 0, what = "every", strength = 100, heatmap = false } of wanted.steps) {
      await page.selectOption("#model", String(model));
      await page.check(`[value=${what}]`);
      await page.fill("#strength", String(strength));
      await page.setChecked("#heatmap", heatmap);
      if (photo) await page.setInputFiles("#file", photo);
      found.said.push(await settled(page));
      found.shown.push(await shown(page));
      await canvas(page, "after", out);
    }
    await canvas(page, "before", wanted.before);
    return {
      ...found,
      device: await text(page, "#device"),
      time: await text(page, "#time"),
      licence: await text(page, "#licence"),
      models: await page.locator("#model option").allTextContents(),
      isolated: await page.evaluate(() => crossOriginIsolated),
    };
  },

  // The page of a test's results: a click enlarges, keys and buttons lead on, Escape closes.
  async results() {
    const page = await open({ start: `${wanted.url}index.html`, context: wanted.context });
    const state = async () => ({
      open: await page.evaluate(() => document.getElementById("view").open),
      name: await text(page, "#name"),
      loaded: await page.evaluate(() =>
        Promise.all([...document.querySelectorAll("#view img")].map((image) => image.decode().then(() => image.naturalWidth))),
      ),
    });
    const found = { states: [] };
    const cards = page.locator(".grid a");
    await cards.nth(0).click();
    found.states.push(await state());
    if (wanted.shot) await page.screenshot({ path: wanted.shot });
    for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "End", "Home", "ArrowLeft"]) {
      await page.keyboard.press(key);
      found.states.push(await state());
    }
    await page.click("#next");
    found.states.push(await state());
    found.nameless = await names(page);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Escape");
    found.closed = !(await state()).open;
    found.focus = await page.evaluate(() => [...document.querySelectorAll(".grid a")].indexOf(document.activeElement));
    await page.keyboard.press("Enter"); // the focus is on the card of what was seen last
    found.again = await state();
    await page.mouse.click(3, 300); // beside the view
    found.beside = !(await state()).open;
    found.address = page.url();
    found.wide = await page.evaluate(() => document.documentElement.scrollWidth);
    return found;
  },

  async noHeatmap() {
    const page = await open();
    await ready(page);
    const had = { disabled: await page.isDisabled("#heatmap"), note: await page.isVisible("#no-heatmap") };
    await page.selectOption("#model", "1");
    await page.waitForSelector("#no-heatmap", { state: "visible" });
    return { had, has: { disabled: await page.isDisabled("#heatmap"), note: await page.isVisible("#no-heatmap") } };
  },

  // The live camera: stops by Escape on a frame that is compared.
  async camera() {
    const page = await open({ flags: [...FAKE_CAMERA, `--use-file-for-fake-video-capture=${wanted.video}`] });
    await ready(page);
    if (wanted.what) await page.check(`[value=${wanted.what}]`);
    await page.click("#empty [data-do=camera]");
    await page.waitForFunction(() => /\d/.test(document.getElementById("rate").textContent), null, { timeout: 60_000 });
    await page.waitForTimeout(wanted.wait ?? 3000);
    const live = { rate: await text(page, "#rate"), time: await text(page, "#time"), status: await text(page, "#status") };
    const focus = await page.evaluate(() => document.activeElement.dataset.do);
    const mirrored = await page.evaluate(() => document.getElementById("pictures").classList.contains("mirrored"));
    if (wanted.shot) await page.screenshot({ path: wanted.shot });
    await page.keyboard.press("Escape");
    await settled(page);
    await canvas(page, "before", wanted.before);
    await canvas(page, "after", wanted.after);
    const tracks = await page.evaluate(() => document.getElementById("video").srcObject);
    const status = await text(page, "#status");
    await page.fill("#strength", "0");
    await settled(page);
    await canvas(page, "after", wanted.without);
    return { live, focus, mirrored, tracks, status, rate: await text(page, "#rate") };
  },

  async cameraRefused() {
    const page = await open({ flags: FAKE_CAMERA.slice(0, 1) });
    await ready(page);
    await page.click("#empty [data-do=camera]");
    const refused = await said(page, /camera (was|cannot)|No camera/);
    return { refused, after: await translate(page) };
  },

  async noCamera() {
    const page = await open({ flags: ["--use-fake-device-for-media-stream=device-count=0", FAKE_CAMERA[1]] });
    await ready(page);
    await page.click("#empty [data-do=camera]");
    return { said: await said(page, /camera (was|cannot)|No camera/) };
  },

  async cameraUnplugged() {
    const page = await open({ flags: FAKE_CAMERA });
    await ready(page);
    await page.check("[value=whole]");
    await page.click("#empty [data-do=camera]");
    await page.waitForFunction(() => /\d/.test(document.getElementById("rate").textContent), null, { timeout: 60_000 });
    await page.evaluate(() => document.getElementById("video").srcObject.getTracks()[0].onended());
    return { said: await said(page, /disconnected/) };
  },

  // The page says in words what is missing. `models` is what models.json says, `missing` an address that gives a 404.
  async wrong() {
    const page = await open({
      context: wanted.context,
      before: async (page, context) => {
        if (wanted.models) await page.route("**/models.json", (route) => route.fulfill({ json: wanted.models }));
        if (wanted.missing) await context.route(wanted.missing, (route) => route.fulfill({ status: 404 }));
        if (wanted.without) {
          await context.route("**/worker.js", async (route) => {
            const response = await route.fetch();
            await route.fulfill({ response, body: `delete self.${wanted.without};\n${await response.text()}` });
          });
        }
        if (wanted.remove) await page.addInitScript((name) => delete globalThis[name], wanted.remove);
      },
    });
    if (wanted.context) return { body: (await page.textContent("noscript")) };
    if (wanted.photo) {
      await ready(page);
      await translate(page);
    }
    await page.waitForFunction(() => document.getElementById("error").textContent, null, { timeout: 60_000 });
    return { error: await text(page, "#error"), visible: await page.isVisible("#error") };
  },

  // A wrong model, then the right one: the page goes on.
  async recover() {
    const page = await open();
    const error = await said(page, /damaged/);
    await page.selectOption("#model", "1");
    return { error, after: await ready(page), hidden: await page.isHidden("#error"), said: await translate(page) };
  },

  // Uses the page, ends the server, and reloads.
  async offline() {
    const server = spawn(wanted.serve[0], wanted.serve.slice(1));
    const url = await new Promise((resolve) =>
      server.stdout.on("data", (data) => {
        const port = /port (\d+)|localhost:(\d+)/.exec(data);
        if (port) resolve(`http://localhost:${port[1] ?? port[2]}/`);
      }),
    );
    const page = await open({ url });
    await ready(page);
    const said = await translate(page);
    const isolated = await page.evaluate(() => crossOriginIsolated);
    await page.waitForTimeout(2000); // what was used is being kept
    server.kill("SIGKILL");
    await new Promise((resolve) => server.on("exit", resolve));
    const down = await fetch(url).then(() => false, () => true);
    await page.reload();
    await ready(page);
    const found = {
      down, said, isolated,
      offline: await translate(page),
      isolatedLater: await page.evaluate(() => crossOriginIsolated),
      device: await text(page, "#device"),
    };
    await canvas(page, "after", wanted.out);
    return found;
  },

  async installable() {
    const page = await open();
    await ready(page);
    const session = await page.context().newCDPSession(page);
    await page.evaluate(() => navigator.serviceWorker.ready);
    const manifest = await session.send("Page.getAppManifest");
    const errors = await session.send("Page.getInstallabilityErrors");
    return { manifest: manifest.errors, errors: errors.installabilityErrors };
  },

  // No mouse: everything by keys.
  async keyboard() {
    const page = await open({ flags: FAKE_CAMERA });
    const chooser = page.waitForEvent("filechooser"); // early: it takes a moment until Chromium hands choosers over
    await ready(page);
    const focused = () =>
      page.evaluate(() => document.activeElement.dataset.do ?? (document.activeElement.id || document.activeElement.value));
    const order = [];
    const press = async (key) => {
      await page.keyboard.press(key);
      order.push(await focused());
    };
    for (let k = 0; k < 3 && order.at(-1) !== "choose"; k++) await press("Tab"); // the first may only enter the page
    await page.keyboard.press("Enter");
    await (await chooser).setFiles(wanted.photo);
    const said = await settled(page);
    // The button that was pressed is gone with the empty page.
    const lost = await page.evaluate(() => document.activeElement === document.body);
    for (let k = 0; k < 12 && order.at(-1) !== "heatmap"; k++) await press("Tab");
    await page.focus("#split");
    for (let k = 0; k < 5; k++) await page.keyboard.press("ArrowRight");
    const split = await page.evaluate(() => document.getElementById("pictures").style.getPropertyValue("--split"));
    await page.focus("[name=view]:checked");
    await page.keyboard.press("ArrowRight");
    const view = await page.evaluate(() => document.getElementById("pictures").className);
    await page.focus("#actions [data-do=camera]");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /\d/.test(document.getElementById("rate").textContent), null, { timeout: 60_000 });
    const during = await focused();
    await page.keyboard.press("Enter"); // the focus is on its successor, the stop button
    await page.waitForFunction(() => !document.getElementById("video").srcObject);
    const nameless = await names(page);
    return { said, lost, order, split, view, during, after: await focused(), nameless };
  },

  // The slider, by mouse; and a photo that is dropped.
  async pointer() {
    const page = await open();
    await ready(page);
    const content = await page.evaluateHandle(async (bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], "dropped.png", { type: "image/png" }));
      return data;
    }, wanted.bytes);
    await page.check("[value=whole]");
    await page.dispatchEvent("#stage", "drop", { dataTransfer: content });
    const said = await settled(page);
    const box = await page.locator("#pictures").boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 4, box.y + 20);
    await page.mouse.up();
    await page.mouse.move(box.x + box.width - 1, box.y + 20); // the button is up: nothing moves
    const clip = await page.evaluate(() => getComputedStyle(document.getElementById("before")).clipPath);
    const download = page.waitForEvent("download");
    await page.click("[data-do=save]");
    const file = await download;
    await file.saveAs(wanted.out);
    return { said, clip, value: await page.inputValue("#split"), name: file.suggestedFilename() };
  },

  // The longest time for which the main thread answers nothing, while the worker works.
  async responsive() {
    const page = await open();
    await ready(page);
    await page.evaluate(() => {
      globalThis.gaps = [];
      let last = performance.now();
      setInterval(() => {
        const now = performance.now();
        gaps.push(now - last);
        last = now;
      }, 5);
    });
    const said = await translate(page);
    const gaps = await page.evaluate(() => gaps);
    return { said, gap: Math.max(...gaps), time: parseInt(await text(page, "#time")) };
  },

  async layout() {
    const found = {};
    for (const [width, height] of wanted.sizes) {
      for (const colorScheme of ["light", "dark"]) {
        const phone = width < 600 ? { isMobile: true, hasTouch: true } : {};
        const page = await open({ context: { viewport: { width, height }, colorScheme, ...phone } });
        await ready(page);
        const name = `${width}-${colorScheme}`;
        if (wanted.shots) await page.screenshot({ path: `${wanted.shots}/${name}-empty.png` });
        await translate(page);
        if (wanted.shots) await page.screenshot({ path: `${wanted.shots}/${name}.png`, fullPage: width < 600 });
        await page.check("[value=beside]");
        if (wanted.shots) await page.screenshot({ path: `${wanted.shots}/${name}-beside.png` });
        found[name] = await page.evaluate(() => ({
          wide: document.documentElement.scrollWidth,
          small: [...document.querySelectorAll("button, select, label")]
            .filter((element) => element.checkVisibility() && element.getBoundingClientRect().height < 30 && !element.matches(".row"))
            .map((element) => element.textContent),
        }));
        await page.context().close();
      }
    }
    return found;
  },

  // A page whose script leaves a result.
  async script() {
    const page = await open();
    await page.waitForFunction(() => window.translated, null, { timeout: 60_000 }).catch((error) => problems.push(String(error)));
    return { translated: await page.evaluate(() => window.translated) };
  },

  // On a host that sends no headers: threads come with the second visit, from the service worker.
  async plainHost() {
    const page = await open();
    await ready(page);
    const first = { isolated: await page.evaluate(() => crossOriginIsolated), device: await text(page, "#device") };
    const said = await translate(page);
    await page.evaluate(() => navigator.serviceWorker.ready);
    await page.reload();
    await ready(page);
    const second = { isolated: await page.evaluate(() => crossOriginIsolated), device: await text(page, "#device") };
    return { first, second, said, again: await translate(page) };
  },
};

// The focusable elements without a name that a screen reader could say.
async function names(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  return nodes
    .filter(({ ignored, properties = [], role }) => !ignored && role?.value !== "RootWebArea" && properties.some(({ name, value }) => name === "focusable" && value.value))
    .filter(({ name }) => !name?.value)
    .map(({ role }) => role.value);
}

try {
  const found = await scenarios[wanted.scenario]();
  console.log(JSON.stringify({ ...found, outside, problems }));
} finally {
  await browser?.close();
}
