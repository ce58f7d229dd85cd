// faces.js against numbers worked out by hand.
import assert from "node:assert/strict";
import test from "node:test";
import * as faces from "../../examples/web/faces.js";

const grey = (width, height, value) => {
  const data = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) data.fill(value(x, y), 4 * (y * width + x), 4 * (y * width + x) + 3);
  }
  return { width, height, data };
};
const reds = ({ data }, step = 3) => Array.from(data).filter((_, k) => k % step === 0);
const rgb = (n, value) => ({ width: n, height: n, data: new Uint8ClampedArray(n * n * 3).fill(value) });
const box = (left, top, width, height) => faces.tileSquare({ left, top, side: width, height });

test("a cut of its own size is the photo itself", () => {
  const photo = grey(4, 4, (x, y) => 10 * y + x);
  assert.deepEqual(reds(faces.cut(photo, box(0, 0, 4), 4)), reds(photo, 4));
});

test("a cut between pixels is their mean, and outside the photo its border goes on", () => {
  const photo = grey(4, 4, (x) => 10 * x);
  assert.deepEqual(reds(faces.cut(photo, box(0.5, 0, 2), 2)), [5, 15, 5, 15]);
  assert.deepEqual(reds(faces.cut(photo, box(-2, 0, 2), 2)), [0, 0, 0, 0]);
  assert.deepEqual(reds(faces.cut(photo, box(3, 0, 2), 2)), [30, 30, 30, 30]);
});

test("a large square counts every pixel: blocks of two by two, the last ones of what is left", () => {
  assert.deepEqual(reds(faces.cut(grey(4, 4, (x, y) => 100 * (x % 2) + 40 * (y % 2)), box(0, 0, 4), 2)), [70, 70, 70, 70]);
  // Blocks of 2, 2 and 1 columns have the means 5, 25 and 40. The places 1.25 and 3.75 are .125 and 1.375 blocks from the
  // first block's centre: 5 + .125 * 20 = 7.5, and 25 + .375 * 15 = 30.6.
  const whole = faces.wholeSquare({ width: 5, height: 4 });
  assert.deepEqual(reds(faces.cut(grey(5, 4, (x) => 10 * x), whole, 2)).slice(0, 2), [8, 31]);
});

test("a turned square is cut upright", () => {
  const photo = grey(4, 4, (x, y) => (y < 2 ? 0 : 200));
  const turned = { c: { x: 2, y: 2 }, u: { x: 0, y: 2 }, v: { x: -2, y: 0 } }; // its right is the photo's down
  assert.deepEqual(reds(faces.cut(photo, turned, 4)).slice(0, 4), [0, 0, 200, 200]);
});

test("values for the model and back", () => {
  assert.deepEqual([...faces.toFloat({ data: [0, 255] })], [-1, 1]);
  assert.deepEqual([...faces.fromFloat([-1, 0, 1, 5, -5, 0.004], 1).data], [0, 128, 255, 255, 0, 128]);
});

test("tiles cover the photo, each half over the one before, and large photos twice", () => {
  assert.deepEqual(faces.tiles(100, 100), [{ left: 0, top: 0, side: 100 }]);
  assert.deepEqual(faces.tiles(640, 480).map(({ left }) => left), [0, 160]);
  const large = faces.tiles(1024, 512);
  assert.equal(large.length, 3 + 3 * 7);
  assert.deepEqual(large.at(-1), { left: 768, top: 256, side: 256 });
  assert.equal(faces.tiles(1024, 512, true).length, 3);
});

test("anchors: two in each cell of 16 x 16, six in each of 8 x 8", () => {
  assert.equal(faces.ANCHORS.length, 896);
  assert.deepEqual(faces.ANCHORS[3], [1.5 / 16, 0.5 / 16]);
  assert.deepEqual(faces.ANCHORS[512 + 6 * 8], [0.5 / 8, 1.5 / 8]);
});

function detect(tile, width, height, row, turn = 0) {
  const rows = new Float32Array(896 * 16), scores = new Float32Array(896).fill(-9);
  scores[0] = 2; // anchor (1/32, 1/32)
  rows.set(row);
  return faces.decode(rows, scores, tile, width, height, turn);
}

test("a detection becomes places in the photo", () => {
  const row = [120, 120, 64, 64, 0, 8, 16, 24];
  const [{ score, numbers }] = detect({ left: 10, top: 20, side: 512 }, 2000, 2000, row);
  assert.ok(Math.abs(score - 1 / (1 + Math.exp(-2))) < 1e-12);
  assert.deepEqual(numbers.slice(0, 8), [266, 276, 128, 128, 26, 52, 58, 84]);
});

test("in a turned tile the points and the box are turned back", () => {
  // (1/32 + 120/256, 1/32 + 60/256) = (.5, .265625) of the turned square; its right is the photo's down.
  const row = [120, 60, 64, 32, 120, 60, 120, 60];
  const tile = { left: 10, top: 20, side: 512 };
  const numbers = (turn) => detect(tile, 2000, 2000, row, turn)[0].numbers.slice(0, 6);
  assert.deepEqual(numbers(0), [266, 156, 128, 64, 266, 156]);
  assert.deepEqual(numbers(1), [386, 276, 64, 128, 386, 276]);
  assert.deepEqual(numbers(2), [266, 396, 128, 64, 266, 396]);
  assert.deepEqual(numbers(3), [146, 276, 64, 128, 146, 276]);
});

test("of two turns that see the same face, the one with the higher score counts", () => {
  const at = (score, x, side) => ({ score, numbers: [x, 0, side, side] });
  const kept = faces.distinct([at(0.6, 0, 100), at(0.9, 49, 90), at(0.7, 100, 20), at(0.8, 300, 200)]);
  assert.deepEqual(kept.map(({ score }) => score), [0.8, 0.9, 0.7]);
});

test("a face that a tile cuts off is dropped, unless the photo ends there", () => {
  const row = [0, 120, 64, 64];
  assert.equal(detect({ left: 10, top: 0, side: 512 }, 2000, 2000, row).length, 0);
  assert.equal(detect({ left: 0, top: 0, side: 512 }, 2000, 2000, row).length, 1);
});

test("a smaller tile is for small faces: up to a third of it", () => {
  const small = { left: 0, top: 0, side: 256 }, whole = { left: 0, top: 0, side: 512 };
  assert.equal(detect(small, 512, 512, [60, 60, 85, 85]).length, 1);
  assert.equal(detect(small, 512, 512, [60, 60, 86, 86]).length, 0);
  assert.equal(detect(whole, 512, 512, [60, 60, 86, 86]).length, 1);
});

test("a face is one at a second look, too", () => {
  assert.equal(faces.isFace(new Float32Array([-5, 1.2, -5])), true); // .769
  assert.equal(faces.isFace(new Float32Array([-5, 1.0, -5])), false); // .731
});

test("detections that overlap are one face, the mean by score; the largest comes first", () => {
  const at = (score, x, side) => ({ score, numbers: [x, 0, side, side, ...Array(12).fill(x)] });
  const merged = faces.merge([at(0.6, 0, 10), at(0.9, 1, 10), at(0.8, 100, 20), at(0.7, 7, 10)]);
  assert.deepEqual(merged.map(({ score }) => score), [0.8, 0.9, 0.7]);
  assert.ok(Math.abs(merged[1].numbers[0] - 0.9 / 1.5) < 1e-12); // 7 overlaps 1 by 4/16 only
});

test("a face's square: twice the eyes' distance, upright on the face", () => {
  const numbers = [0, 0, 0, 0, 90, 100, 110, 100, 0, 0, 100, 120]; // eyes 20 apart, mouth 20 below
  const { c, u, v } = faces.faceSquare({ numbers });
  assert.deepEqual([c.x, c.y, u.x, u.y, v.x + 0, v.y], [100, 102, 40, 0, 0, 40]);
  const turned = [0, 0, 0, 0, 100, 90, 100, 110, 0, 0, 80, 100]; // by 90 degrees to the right
  const square = faces.faceSquare({ numbers: turned });
  assert.deepEqual([square.c.x, square.c.y, square.u.x, square.u.y], [98, 100, 0, 40]);
});

test("faults: too few pixels, too dark, blurred, none", () => {
  const square = box(0, 0, 128);
  const noisy = (level) => grey(128, 128, (x, y) => level + 40 * ((x + y) % 2));
  assert.equal(faces.fault(noisy(100), box(0, 0, 15), 32), "tiny_face");
  assert.equal(faces.fault(noisy(0), square, 128), "dark_face");
  assert.equal(faces.fault(grey(128, 128, (x) => 2 * x), square, 128), "blurred_face");
  assert.equal(faces.fault(noisy(100), square, 128), null);
});

test("brightness and sharpness of a checkerboard", () => {
  const value = (_, k) => 100 * ((Math.floor(k / 3) + Math.floor(k / 24)) % 2);
  const board = { width: 8, height: 8, data: Uint8ClampedArray.from({ length: 192 }, value) };
  assert.ok(Math.abs(faces.brightness(board) - 100) < 1e-9);
  assert.ok(Math.abs(faces.sharpness(board) - 64) < 1e-9); // the Laplacian is 8 times the deviation from the mean
});

test("what is pasted is whole in the middle, gone at the edge, and half there in between", () => {
  const photo = grey(16, 16, () => 100);
  faces.paste(photo, rgb(8, 200), box(0, 0, 16), 1, true);
  assert.equal(photo.data[4 * (8 * 16 + 8)], 200);
  assert.equal(photo.data[0], 100);
  // Pixel (1, 8): a = -13/16, b = 1/16: r = .8125, t = .75, smoothstep(.75) = .84375
  assert.equal(photo.data[4 * (8 * 16 + 1)], 184);
  assert.equal(photo.data[3], 255);
});

test("strength mixes; outside the square nothing changes; a hard edge reaches it", () => {
  const photo = grey(8, 4, () => 100);
  faces.paste(photo, rgb(4, 200), box(0, 0, 4), 0.25, false);
  assert.deepEqual(reds(photo, 4).slice(0, 8), [125, 125, 125, 125, 100, 100, 100, 100]);
});

test("the heatmap is blue where lowest and red where highest; a constant one is blue", () => {
  const shown = faces.overlayHeatmap(rgb(8, 0), new Float32Array([0, 1, 0, 1]));
  assert.deepEqual([...shown.data.slice(0, 3)], [0, 0, 64]);
  assert.deepEqual([...shown.data.slice(21, 24)], [64, 0, 0]);
  assert.deepEqual([...faces.overlayHeatmap(rgb(4, 0), new Float32Array([7])).data.slice(0, 3)], [0, 0, 64]);
});
