// Keeps the page working offline, and gives it the headers that threads need where the host sends none.
const CACHE = "ugatit-web"; // app.js puts what the page uses into it
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const ours = event.request.url.startsWith(self.registration.scope);
  if (ours && event.request.method === "GET") event.respondWith(answer(event.request));
});

// What the host has now; what was kept when it cannot be reached.
async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request, { ignoreSearch: true });
  let response;
  try {
    response = await fetch(request);
  } catch {
    response = kept ?? new Response("Not kept for offline use.", { status: 504 });
  }
  const tag = response.headers.get("ETag");
  const changed = kept && kept !== response && response.ok && (!tag || tag !== kept.headers.get("ETag"));
  if (changed) await cache.put(request, response.clone());
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
