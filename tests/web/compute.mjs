// Runs functions of faces.js for test_faces_js.py: reads { photo, squares, size }, prints what they give.
import { readFileSync } from "node:fs";
import * as faces from "../../examples/web/faces.js";

const { photo, width, height, squares, size, heatmap, strength, soft, detections } = JSON.parse(process.argv[2]);
const pixels = readFileSync(photo);
const image = { width, height, data: new Uint8ClampedArray(pixels) };
const array = (values) => Array.from(values);
const results = squares.map((square) => {
  const picture = faces.cut(image, square, size);
  const shown = faces.overlayHeatmap(picture, Float32Array.from(heatmap));
  const pasted = { width, height, data: new Uint8ClampedArray(pixels) };
  faces.paste(pasted, { ...picture, data: picture.data.map((value) => 255 - value) }, square, strength, soft);
  return {
    cut: array(picture.data),
    heatmap: array(shown.data),
    pasted: array(pasted.data),
    brightness: faces.brightness(picture),
    sharpness: faces.sharpness(picture),
    fault: faces.fault(image, square, size),
  };
});
const bytes = readFileSync(detections.file);
const table = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)); // 17 in a row
const scores = table.filter((_, k) => k % 17 === 0), rows = table.filter((_, k) => k % 17);
const turns = [0, 1, 2, 3].map((turn) => faces.decode(rows, scores, detections.tile, width, height, turn));
const constants = Object.fromEntries(Object.entries(faces).filter(([, value]) => typeof value === "number"));
console.log(JSON.stringify({ results, turns, distinct: faces.distinct(turns.flat()), tiles: faces.tiles(width, height), constants }));
