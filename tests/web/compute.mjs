// Runs functions of faces.js for test_faces_js.py: reads { photo, squares, size }, prints what they give.
import { readFileSync } from "node:fs";
import * as faces from "../../examples/web/faces.js";

const { photo, width, height, squares, size, heatmap, strength, soft } = JSON.parse(process.argv[2]);
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
const constants = Object.fromEntries(Object.entries(faces).filter(([, value]) => typeof value === "number"));
console.log(JSON.stringify({ results, tiles: faces.tiles(width, height), constants }));
