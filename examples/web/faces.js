// The geometry and the pixels of faces: finding, cutting out, judging, pasting back. Pure functions, no DOM, no LiteRT.
//
// The same as ugatit_tf/inference/faces.py and squares.py; a change there belongs here too. Places are continuous: the
// photo's upper left corner is (0,0), and the centre of its first pixel (.5,.5). A photo is what getImageData gives:
// { width, height, data }, RGBA. A square is { c, u, v }: its centre, and the vectors from it to the middle of its right
// and of its lower side.

export const DETECTOR_SIZE = 256;
export const MIN_SCORE = 0.5, MIN_SECOND_SCORE = 0.75, MAX_OVERLAP = 0.3, SURE = 0.75, LARGEST_IN_PART = 1 / 3;
export const FEATHER = 0.25; // of the way from a square's edge to its centre, over which what is pasted fades in
export const JUDGED = 128; // size at which a face's light and sharpness are judged
export const DARKEST = 48, BLURRIEST = 0.01;

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const round = (value) => Math.floor(value + 0.5);

// --- cutting out

// The mean colours of blocks of kx by ky pixels of a region; the last blocks have the pixels that are left.
function reduce(image, channels, x0, y0, x1, y1, kx, ky) {
  const width = Math.ceil((x1 - x0) / kx), height = Math.ceil((y1 - y0) / ky);
  const data = new Float64Array(width * height * 3);
  for (let row = 0; row < height; row++) {
    const top = y0 + row * ky, bottom = Math.min(top + ky, y1);
    for (let column = 0; column < width; column++) {
      const left = x0 + column * kx, right = Math.min(left + kx, x1);
      let red = 0, green = 0, blue = 0;
      for (let y = top; y < bottom; y++) {
        for (let at = (y * image.width + left) * channels, x = left; x < right; x++, at += channels) {
          red += image.data[at];
          green += image.data[at + 1];
          blue += image.data[at + 2];
        }
      }
      const count = (bottom - top) * (right - left), to = (row * width + column) * 3;
      data[to] = red / count;
      data[to + 1] = green / count;
      data[to + 2] = blue / count;
    }
  }
  return { width, height, data };
}

// The colour between pixels: (x,y) counts pixels, with (0,0) the first one's centre; outside is as at the edge.
function sample({ width, height, data }, x, y, colour) {
  x = clamp(x, 0, width - 1);
  y = clamp(y, 0, height - 1);
  const left = Math.min(Math.floor(x), Math.max(width - 2, 0)), top = Math.min(Math.floor(y), Math.max(height - 2, 0));
  const right = Math.min(left + 1, width - 1), bottom = Math.min(top + 1, height - 1);
  const fx = x - left, fy = y - top;
  const a = (top * width + left) * 3, b = (top * width + right) * 3;
  const c = (bottom * width + left) * 3, d = (bottom * width + right) * 3;
  for (let k = 0; k < 3; k++) {
    const upper = data[a + k] + fx * (data[b + k] - data[a + k]);
    const lower = data[c + k] + fx * (data[d + k] - data[c + k]);
    colour[k] = upper + fy * (lower - upper);
  }
}

// The part of a photo, at least a pixel, that a square lies on: [x0, y0, x1, y1].
function bounds({ width, height }, { c, u, v }) {
  const corners = [[-1, -1], [1, -1], [-1, 1], [1, 1]];
  const xs = corners.map(([a, b]) => c.x + a * u.x + b * v.x), ys = corners.map(([a, b]) => c.y + a * u.y + b * v.y);
  const x0 = clamp(Math.floor(Math.min(...xs)), 0, width - 1), y0 = clamp(Math.floor(Math.min(...ys)), 0, height - 1);
  return [x0, y0, clamp(Math.ceil(Math.max(...xs)), x0 + 1, width), clamp(Math.ceil(Math.max(...ys)), y0 + 1, height)];
}

// What a square shows, as an upright n x n picture: { width, height, data }, RGB.
export function cut(photo, square, n) {
  const { c, u, v } = square;
  const kx = Math.max(1, Math.floor((2 * Math.hypot(u.x, u.y)) / n));
  const ky = Math.max(1, Math.floor((2 * Math.hypot(v.x, v.y)) / n));
  const [x0, y0, x1, y1] = bounds(photo, square);
  const small = reduce(photo, 4, x0, y0, x1, y1, kx, ky);
  const data = new Uint8ClampedArray(n * n * 3), colour = [0, 0, 0];
  for (let j = 0, at = 0; j < n; j++) {
    const b = (2 * (j + 0.5)) / n - 1;
    for (let i = 0; i < n; i++, at += 3) {
      const a = (2 * (i + 0.5)) / n - 1;
      const x = c.x + a * u.x + b * v.x, y = c.y + a * u.y + b * v.y;
      sample(small, (x - x0) / kx - 0.5, (y - y0) / ky - 0.5, colour);
      for (let k = 0; k < 3; k++) data[at + k] = round(colour[k]);
    }
  }
  return { width: n, height: n, data };
}

export function toFloat(picture) {
  const values = new Float32Array(picture.data.length);
  for (let k = 0; k < values.length; k++) values[k] = picture.data[k] / 127.5 - 1; // five times as fast as from()
  return values;
}

export function fromFloat(values, n) {
  const data = new Uint8ClampedArray(values.length);
  for (let k = 0; k < data.length; k++) data[k] = Math.floor(values[k] * 127.5 + 128);
  return { width: n, height: n, data };
}

// --- finding faces

function along(length, side) {
  const count = length <= side ? 1 : Math.ceil((length - side) / (side / 2)) + 1;
  return Array.from({ length: count }, (_, k) => (count === 1 ? 0 : (k * (length - side)) / (count - 1)));
}

// The squares in which faces are looked for; `quick` leaves out the smaller ones.
export function tiles(width, height, quick = false) {
  const short = Math.min(width, height);
  const sides = !quick && short / 2 >= DETECTOR_SIZE ? [short, short / 2] : [short];
  return sides.flatMap((side) =>
    along(height, side).flatMap((top) => along(width, side).map((left) => ({ left, top, side }))),
  );
}

// A tile as a square, its own right turned clockwise by so many quarters of a circle.
export function tileSquare({ left, top, side }, turn = 0) {
  const half = side / 2;
  const axes = [[half, 0], [0, half], [-half, 0], [0, -half]].map(([x, y]) => ({ x, y }));
  return { c: { x: left + half, y: top + half }, u: axes[turn % 4], v: axes[(turn + 1) % 4] };
}

export const ANCHORS = [[16, 2], [8, 6]].flatMap(([grid, repeats]) =>
  Array.from({ length: grid * grid * repeats }, (_, k) => {
    const cell = Math.floor(k / repeats);
    return [((cell % grid) + 0.5) / grid, (Math.floor(cell / grid) + 0.5) / grid];
  }),
);

const toScore = (logit) => 1 / (1 + Math.exp(-clamp(logit, -80, 80)));

// Whether the detector, shown the cut that would be translated, sees a face in it, too.
export function isFace(scores) {
  return toScore(Math.max(...scores)) >= MIN_SECOND_SCORE;
}

// The faces that the detector sees in a tile, turned or not: { score, numbers }, where numbers are cx, cy, w, h and six
// points, in the photo.
export function decode(rows, scores, tile, width, height, turn = 0) {
  const found = [];
  const { left, top, side } = tile;
  const { c, u, v } = tileSquare(tile, turn);
  ANCHORS.forEach((anchor, index) => {
    const score = toScore(scores[index]);
    if (!(score > MIN_SCORE)) return;
    const values = Array.from(rows.subarray(index * 16, index * 16 + 16), (value) => value / DETECTOR_SIZE);
    const numbers = [];
    for (let k = 0; k < 16; k += 2) {
      const a = 2 * (values[k] + anchor[0]) - 1, b = 2 * (values[k + 1] + anchor[1]) - 1;
      numbers.push(c.x + a * u.x + b * v.x, c.y + a * u.y + b * v.y);
    }
    const [w, h] = turn % 2 ? [values[3] * side, values[2] * side] : [values[2] * side, values[3] * side];
    numbers.splice(2, 2, w, h);
    const [cx, cy] = numbers;
    const cutOff =
      (left > 0 && cx - w / 2 < left) || (left + side < width && cx + w / 2 > left + side) ||
      (top > 0 && cy - h / 2 < top) || (top + side < height && cy + h / 2 > top + side);
    // Smaller squares are for small faces: of a large one they would show a part, and find a face in that.
    const part = side < Math.min(width, height) && w > side * LARGEST_IN_PART;
    if (!cutOff && !part) found.push({ score, numbers });
  });
  return found;
}

function overlap([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const w = Math.min(ax + aw / 2, bx + bw / 2) - Math.max(ax - aw / 2, bx - bw / 2);
  const h = Math.min(ay + ah / 2, by + bh / 2) - Math.max(ay - ah / 2, by - bh / 2);
  const both = Math.max(w, 0) * Math.max(h, 0);
  return both / (aw * ah + bw * bh - both);
}

// One face where several detections overlap: their mean, weighted by their scores. The largest come first.
export function merge(found) {
  let left = [...found].sort((a, b) => b.score - a.score);
  const faces = [];
  while (left.length) {
    const best = left[0];
    const same = left.filter((other) => other === best || overlap(best.numbers, other.numbers) > MAX_OVERLAP);
    left = left.filter((other) => !same.includes(other));
    const total = same.reduce((sum, { score }) => sum + score, 0);
    const mean = (k) => same.reduce((sum, { score, numbers }) => sum + score * numbers[k], 0) / total;
    faces.push({ score: best.score, numbers: best.numbers.map((_, k) => mean(k)) });
  }
  return faces.sort((a, b) => b.numbers[2] * b.numbers[3] - a.numbers[2] * a.numbers[3]);
}

// Each face once, as seen in the turn with the highest score: the same are those whose centres are in one box.
export function distinct(faces) {
  const same = ([ax, ay, aw, ah], [bx, by, bw, bh]) =>
    Math.max(Math.abs(ax - bx), Math.abs(ay - by)) < Math.max(aw, ah, bw, bh) / 2;
  const kept = [];
  for (const face of [...faces].sort((a, b) => b.score - a.score)) {
    if (!kept.some((other) => same(face.numbers, other.numbers))) kept.push(face);
  }
  return kept.sort((a, b) => b.numbers[2] * b.numbers[3] - a.numbers[2] * a.numbers[3]);
}

// The square around a face that a model was trained on: FFHQ's rule, which turns it upright.
export function faceSquare({ numbers }) {
  const [ex, ey, fx, fy, , , mx, my] = numbers.slice(4);
  const eyes = { x: (ex + fx) / 2, y: (ey + fy) / 2 };
  const d = { x: fx - ex, y: fy - ey }, q = { x: mx - eyes.x, y: my - eyes.y };
  const x = { x: d.x + q.y, y: d.y - q.x };
  const half = Math.max(2 * Math.hypot(d.x, d.y), 1.8 * Math.hypot(q.x, q.y)) / Math.hypot(x.x, x.y);
  const u = { x: half * x.x, y: half * x.y };
  return { c: { x: eyes.x + 0.1 * q.x, y: eyes.y + 0.1 * q.y }, u, v: { x: -u.y, y: u.x } };
}

export function wholeSquare({ width, height }) {
  return { c: { x: width / 2, y: height / 2 }, u: { x: width / 2, y: 0 }, v: { x: 0, y: height / 2 } };
}

// --- judging

// Luma of the middle of a cut, where the face is: { size, values }.
function grey({ width, data }) {
  const edge = Math.floor(width / 4), size = width - 2 * edge;
  const values = Float64Array.from({ length: size * size }, (_, k) => {
    const at = ((edge + Math.floor(k / size)) * width + edge + (k % size)) * 3;
    return 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
  });
  return { size, values };
}

// The 95th percentile of a cut's luma.
export function brightness(picture) {
  const sorted = grey(picture).values.sort();
  const place = 0.95 * (sorted.length - 1), below = Math.floor(place);
  return sorted[below] + (place - below) * (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]);
}

// Share of a cut's contrast that lies between neighbouring pixels: the Laplacian's variance over the luma's.
export function sharpness(picture) {
  const { size, values } = grey(picture);
  const inner = [], laplacian = [];
  for (let y = 1; y < size - 1; y++) {
    for (let x = 1; x < size - 1; x++) {
      const at = y * size + x;
      inner.push(values[at]);
      laplacian.push(values[at - size] + values[at + size] + values[at - 1] + values[at + 1] - 4 * values[at]);
    }
  }
  return variance(laplacian) / Math.max(variance(inner), 1);
}

function variance(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}

// Why a face would not make a good picture, or null.
export function fault(photo, square, n) {
  if (2 * Math.hypot(square.u.x, square.u.y) < n / 2) return "tiny_face";
  const picture = cut(photo, square, JUDGED);
  if (brightness(picture) < DARKEST) return "dark_face";
  return sharpness(picture) < BLURRIEST ? "blurred_face" : null;
}

// --- pasting back

// Lay a picture over the photo's square, in place; `soft` fades it in from the square's edge.
export function paste(photo, picture, { c, u, v }, strength, soft) {
  const { data } = photo;
  const n = picture.width;
  const uu = u.x * u.x + u.y * u.y, vv = v.x * v.x + v.y * v.y;
  const kx = Math.max(1, Math.floor(n / (2 * Math.sqrt(uu)))), ky = Math.max(1, Math.floor(n / (2 * Math.sqrt(vv))));
  const small = reduce(picture, 3, 0, 0, n, n, kx, ky);
  const [x0, y0, x1, y1] = bounds(photo, { c, u, v });
  const colour = [0, 0, 0];
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const px = x + 0.5 - c.x, py = y + 0.5 - c.y;
      const a = (px * u.x + py * u.y) / uu, b = (px * v.x + py * v.y) / vv;
      if (Math.abs(a) > 1 || Math.abs(b) > 1) continue;
      let mask = strength;
      if (soft) {
        const t = clamp((1 - Math.sqrt(Math.sqrt(a * a * a * a + b * b * b * b))) / FEATHER, 0, 1);
        mask *= t * t * (3 - 2 * t);
      }
      if (!mask) continue;
      sample(small, ((a + 1) * n) / 2 / kx - 0.5, ((b + 1) * n) / 2 / ky - 0.5, colour);
      const at = (y * photo.width + x) * 4;
      for (let k = 0; k < 3; k++) data[at + k] = round(data[at + k] + mask * (colour[k] - data[at + k]));
    }
  }
}

// --- the heatmap

const JET = Array.from({ length: 256 }, (_, level) =>
  [
    Math.min(4 * (level - 96) + 2, 4 * (287 - level)),
    Math.min(4 * (level - 32), 4 * (223 - level)),
    Math.min(4 * (level + 32), 4 * (159 - level) + 2),
  ].map((value) => clamp(value, 0, 255)),
);

// A translation, half of it covered by where the model looked: blue little, through cyan and yellow to red most.
export function overlayHeatmap(picture, heatmap) {
  const n = picture.width, size = Math.round(Math.sqrt(heatmap.length));
  const low = Math.min(...heatmap), span = Math.max(...heatmap) - low;
  const levels = Float32Array.from(heatmap, (value) => (span > 0 ? Math.floor((255 * (value - low)) / span) : 0));
  const map = { width: size, height: size, data: new Float32Array(size * size * 3) };
  levels.forEach((level, k) => map.data.fill(level, 3 * k, 3 * k + 3));
  const data = new Uint8ClampedArray(n * n * 3), colour = [0, 0, 0];
  for (let j = 0, at = 0; j < n; j++) {
    for (let i = 0; i < n; i++, at += 3) {
      sample(map, ((i + 0.5) * size) / n - 0.5, ((j + 0.5) * size) / n - 0.5, colour);
      const jet = JET[round(colour[0])];
      for (let k = 0; k < 3; k++) data[at + k] = round((picture.data[at + k] + jet[k]) / 2);
    }
  }
  return { width: n, height: n, data };
}
